"""The public CSV layouts as they are published: orders of many rows, gaps, repeated rows, odd values, any size."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lakehouse.errors import UsageError
from producer.replay import replay

REES46 = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
RETAILROCKET = "timestamp,visitorid,event,itemid,transactionid"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def events_of(path: Path, *lines: str) -> list[dict[str, Any]]:
    path.write_text("\n".join(lines) + "\n")
    return [json.loads(record.value or b"") for record in replay(path)]


def bought(second: int, product: str, price: str, user: str = "1", session: str = "s1") -> str:
    return f"2019-10-01 00:00:{second:02} UTC,purchase,{product},2053013555631882655,,,{price},{user},{session}"


def test_what_a_session_buys_is_one_order(tmp_path: Path) -> None:
    rows = [bought(5 - n, f"p{n}", price) for n, price in enumerate(("0.10", "0.20", "5.00"))]
    orders = events_of(tmp_path / "f.csv", REES46, *rows, bought(9, "p9", "1.00", session="s2"))
    assert [(order["timestamp"], order["data"]["total_amount"]) for order in orders] == [
        ("2019-10-01T00:00:03.000Z", 5.3),
        ("2019-10-01T00:00:09.000Z", 1),
    ]
    assert [line["product_id"] for line in orders[0]["data"]["products"]] == ["p2", "p1", "p0"]
    assert len({order["data"]["order_id"] for order in orders}) == len({order["event_id"] for order in orders}) == 2


def test_without_a_session_an_order_is_what_a_user_buys_in_one_second(tmp_path: Path) -> None:
    rows = [bought(0, "p1", "1", user, "") for user in ("1", "2")]
    orders = events_of(tmp_path / "f.csv", REES46, *rows, bought(0, "p2", "2", "1", ""), bought(1, "p1", "1", "1", ""))
    assert sorted((order["user_id"], order["data"]["total_amount"]) for order in orders) == [
        ("u1", 1),
        ("u1", 3),
        ("u2", 1),
    ]
    assert len({order["data"]["order_id"] for order in orders}) == 3
    assert all("context" not in order for order in orders)


def test_two_users_never_share_an_order(tmp_path: Path) -> None:
    orders = events_of(tmp_path / "f.csv", REES46, bought(0, "p1", "1", "1"), bought(0, "p1", "1", "2"))
    assert len({order["data"]["order_id"] for order in orders}) == 2


def test_a_row_of_an_order_that_stands_twice_is_one_line(tmp_path: Path) -> None:
    (order,) = events_of(tmp_path / "f.csv", REES46, bought(0, "p1", "2"), bought(0, "p1", "2"), bought(1, "p1", "2"))
    assert order["data"]["total_amount"] == 4
    assert [line["quantity"] for line in order["data"]["products"]] == [1, 1]


def test_a_price_below_zero_is_a_discount_on_the_order(tmp_path: Path) -> None:
    (order,) = events_of(tmp_path / "f.csv", REES46, bought(0, "p1", "9.99"), bought(1, "p2", "-4.76"))
    assert order["data"]["total_amount"] == 5.23
    assert order["data"]["products"][1] == {"product_id": "p2", "quantity": 1, "discount": 4.76}


@pytest.mark.parametrize("price", ["12345678.123456789", "999999999999.999999999", "0.000000001", "-0.5", "1000", "0"])
def test_a_price_keeps_nine_decimal_places(tmp_path: Path, price: str) -> None:
    events_of(tmp_path / "f.csv", REES46, f"2019-10-01 00:00:00 UTC,view,7,8,,,{price},5,s")
    (view,) = replay(tmp_path / "f.csv")
    assert f'"price":{price},' in (view.value or b"").decode()


def test_empty_fields_are_left_out_and_a_price_of_zero_is_a_price(tmp_path: Path) -> None:
    (view,) = events_of(tmp_path / "f.csv", REES46, "2019-10-01 00:00:00 UTC,view,7,8,,,0.00,5,")
    assert view["data"] == {"product_id": "7", "category_id": "8", "price": 0}
    assert "context" not in view


def test_what_cannot_be_read_is_sent_as_it_is(tmp_path: Path) -> None:
    rows = ["yesterday,view,7,8,,,free,5,s", "2019-10-01 00:00:00 UTC,refund,7,8,,,1,,s"]
    by_type = {event["event_type"]: event for event in events_of(tmp_path / "f.csv", REES46, *rows)}
    assert (by_type["product_view"]["timestamp"], by_type["product_view"]["data"]["price"]) == ("yesterday", "free")
    assert "user_id" not in by_type["refund"]


def test_a_transaction_is_one_order_in_a_file_out_of_order(tmp_path: Path) -> None:
    rows = [
        "1433221332117,9,view,355908,",
        "1433221332999,9,transaction,2,77",
        "1433221332998,9,transaction,1,77",
        "1433221332998,9,transaction,1,77",
        "1433221331000,8,addtocart,3,",
        "1433221333000,8,transaction,3,78",
    ]
    events = events_of(tmp_path / "f.csv", RETAILROCKET, *rows)
    assert [event["event_type"] for event in events] == ["add_to_cart", "product_view", "purchase", "purchase"]
    assert events[2]["data"] == {
        "order_id": "77",
        "total_amount": 0,
        "products": [{"product_id": "1", "quantity": 1}, {"product_id": "2", "quantity": 1}],
    }


def test_marks_columns_and_packing_of_a_file_do_not_matter(tmp_path: Path) -> None:
    plain = events_of(tmp_path / "plain.csv", REES46, bought(0, "p1", "1"))
    (tmp_path / "marked.csv").write_bytes(
        b"\xef\xbb\xbf" + (tmp_path / "plain.csv").read_bytes().replace(b"\n", b"\r\n")
    )
    for name in ("packed.csv.gz", "packed.csv"):
        (tmp_path / name).write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    (tmp_path / "unpacked.csv.gz").write_bytes((tmp_path / "plain.csv").read_bytes())
    for name in ("marked.csv", "packed.csv.gz", "packed.csv", "unpacked.csv.gz"):
        assert [json.loads(record.value or b"") for record in replay(tmp_path / name)] == plain


@pytest.mark.parametrize("first", [REES46, '{"messageId":"m1","type":"page"}', '{"event_id":"e1"}'])
def test_a_packed_file_that_is_cut_off_stops_before_anything_is_sent(tmp_path: Path, first: str) -> None:
    rows = "\n".join([first, *(bought(number % 60, f"p{number}", "1") for number in range(5_000))])
    packed = gzip.compress(rows.encode())
    (tmp_path / "f.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UsageError, match=r"f\.gz cannot be read: Compressed file ended"):
        next(replay(tmp_path / "f.gz"))


def test_shifting_moves_orders_too(tmp_path: Path) -> None:
    events_of(tmp_path / "f.csv", REES46, bought(0, "p1", "1"), bought(7, "p1", "1", session="s2"))
    target = NOON + timedelta(milliseconds=500)
    moved = [json.loads(record.value or b"")["timestamp"] for record in replay(tmp_path / "f.csv", shift_to=target)]
    assert moved == ["2026-11-24T11:59:53.500Z", "2026-11-24T12:00:00.500Z"]


def test_a_number_that_may_be_read_in_two_ways_stays(tmp_path: Path) -> None:
    (view,) = events_of(tmp_path / "f.csv", REES46, "2019-10-01 00:00:00 UTC,view,7,8,,,1_000,5,s")
    assert view["data"]["price"] == "1_000"


@pytest.mark.parametrize("said", ["infinity", "epoch", "now", "0001-01-01 (BC) 00:00:00 UTC"])
def test_a_word_is_no_moment(tmp_path: Path, said: str) -> None:
    (view,) = events_of(tmp_path / "f.csv", REES46, f"{said},view,7,8,,,1,5,s")
    assert view["timestamp"] == said


@pytest.mark.parametrize("absurd", ["9999-12-31 23:59:59 UTC", "0001-01-01 00:00:00 UTC"])
def test_one_absurd_time_does_not_move_all_others(tmp_path: Path, absurd: str) -> None:
    rows = [bought(0, "p1", "1"), f"{absurd},view,7,8,,,1,5,s"]
    events_of(tmp_path / "f.csv", REES46, *rows)
    moved = [json.loads(record.value or b"")["timestamp"] for record in replay(tmp_path / "f.csv", shift_to=NOON)]
    assert "2026-11-24T12:00:00.000Z" in moved


def test_a_row_that_is_no_row_stops_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(f"{REES46}\n{bought(0, 'p1', '1')}\none,two\n")
    with pytest.raises(UsageError, match=r"f\.csv cannot be read as REES46 CSV"):
        next(replay(tmp_path / "f.csv"))
    (tmp_path / "f.csv").write_text(f"{REES46}\none,two\n")
    with pytest.raises(UsageError, match="cannot be read") as refused:
        next(replay(tmp_path / "f.csv"))
    assert not str(refused.value).endswith(":")
    (tmp_path / "f.csv").write_bytes(f"{REES46}\n{bought(0, 'lancôme', '1')}\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"Line: 2; .* not utf-8"):
        next(replay(tmp_path / "f.csv"))
    (tmp_path / "f.csv").write_text(f"{REES46}\n#no row\n{bought(0, 'p1', '1')}\n")
    with pytest.raises(UsageError, match="cannot be read"):
        next(replay(tmp_path / "f.csv"))
