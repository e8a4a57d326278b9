"""Envelopes of other tools, in the shapes of their published examples, become events of the contract."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from producer.json_schema import event_schema
from producer.replay import replay

Event = dict[str, Any]
ECOMMERCE = "com_snowplowanalytics_snowplow_ecommerce"
ACTION = f"unstruct_event_{ECOMMERCE}_snowplow_ecommerce_action_1"


def events_of(tmp_path: Path, *lines: Event | str, are_valid: bool = True) -> tuple[list[Event], Counter[str]]:
    """The events of a file, and what was left out of it."""
    file, left_out = tmp_path / "export.jsonl", Counter[str]()
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    events = [json.loads(record.value or b"") for record in replay(file, left_out=left_out)]
    assert all(map(Draft202012Validator(event_schema()).is_valid, events)) == are_valid
    return events, left_out


def segment(number: int, kind: str, event: str | None = None, **properties: Any) -> Event:
    call: Event = {
        "anonymousId": "507f191e810c19729de860ea",
        "context": {
            "active": True,
            "ip": "8.8.8.8",
            "library": {"name": "analytics.js", "version": "2.11.1"},
            "location": {"city": "San Francisco", "country": "United States"},
            "page": {"path": "/academy/", "url": "https://shop.example/academy/"},
            "userAgent": "Mozilla/5.0",
        },
        "integrations": {"All": True},
        "messageId": f"022bb90c-bbac-11e4-8dfc-{number:012}",
        "properties": properties,
        "receivedAt": "2026-09-10T04:08:31.909Z",
        "sentAt": "2026-09-10T04:08:31.581Z",
        "timestamp": f"2026-09-10T09:38:{number:02}.905+05:30",
        "type": kind,
        "userId": "97980cfea0067",
        "version": 2,
    }
    return call | ({"event": event} if event else {})


def test_segment_and_rudderstack(tmp_path: Path) -> None:
    product = {"product_id": 507, "sku": "G-32", "category": "Games", "name": "Monopoly", "price": "18.99"}
    lines = [
        {"product_id": "507", "sku": "45790-32", "name": "Monopoly", "price": 19, "quantity": 1, "brand": "Hasbro"}
    ]
    order = segment(
        4, "track", "Order Completed", order_id="50314", revenue=25.0, total=27.5, currency="USD", products=lines
    )
    order |= {"userId": None}
    order["context"] |= {"sessionId": 1662393792, "location": {"country": "US"}}
    events, left_out = events_of(
        tmp_path,
        segment(1, "page", title="Academy"),
        segment(2, "track", "Product Viewed", **product),
        segment(3, "track", "Product Added", **product, quantity=2),
        order,
        segment(5, "track", "Products Searched", query="blue roses"),
        segment(6, "track", "Cart Viewed", products=lines),
        segment(7, "identify"),
    )
    assert [event["event_type"] for event in events] == [
        "page_view",
        "product_view",
        "add_to_cart",
        "purchase",
        "search",
    ]
    assert left_out == {"Cart Viewed": 1, "identify": 1}
    assert (events[0]["timestamp"], events[0]["data"]) == (
        "2026-09-10T04:08:01.905Z",
        {"page_url": "https://shop.example/academy/"},
    )
    assert "country" not in events[0]["context"]
    assert events[2]["data"] == {
        "product_id": "507",
        "product_name": "Monopoly",
        "category": "Games",
        "price": 18.99,
        "quantity": 2,
        "page_url": "https://shop.example/academy/",
    }
    assert events[3] == {
        "event_id": "022bb90c-bbac-11e4-8dfc-000000000004",
        "event_type": "purchase",
        "user_id": "507f191e810c19729de860ea",
        "timestamp": "2026-09-10T04:08:04.905Z",
        "context": {
            "session_id": "1662393792",
            "device_id": "507f191e810c19729de860ea",
            "ip": "8.8.8.8",
            "country": "US",
            "user_agent": "Mozilla/5.0",
        },
        "data": {
            "order_id": "50314",
            "total_amount": 27.5,
            "currency": "USD",
            "products": [{"product_id": "507", "quantity": 1, "price": 19}],
        },
    }


def test_an_empty_id_is_none(tmp_path: Path) -> None:
    viewed = segment(1, "track", "Product Viewed", product_id="", sku="G-32") | {"userId": ""}
    viewed["context"] |= {"sessionId": "", "device": {"id": ""}}
    (event,), _ = events_of(tmp_path, viewed)
    assert (event["user_id"], event["data"]["product_id"]) == ("507f191e810c19729de860ea", "G-32")
    assert event["context"]["device_id"] == "507f191e810c19729de860ea" and "session_id" not in event["context"]
    (event,), _ = events_of(tmp_path, ga4(1, "page_view") | {"user_id": ""})
    assert event["user_id"] == "1026454.4271112504"
    (event,), _ = events_of(tmp_path, snowplow(1, "page_view", user_id=""))
    assert event["user_id"] == "bc2e92ec6c204a14"
    empty = dict.fromkeys(("domain_userid", "domain_sessionid", "derived_tstamp"), "")
    (event,), _ = events_of(tmp_path, snowplow(1, "page_view", network_userid="n1", **empty))
    assert (event["user_id"], event["timestamp"]) == ("n1", "2026-09-03T10:15:01.500Z")
    assert event["context"]["device_id"] == "n1" and "session_id" not in event["context"]
    row = ga4(1, "page_view", ga_session_id={"int_value": "9"}) | {"user_id": "u1", "user_pseudo_id": ""}
    (event,), _ = events_of(tmp_path, row)
    assert event["user_id"] == "u1" and "context" not in event


@pytest.mark.parametrize("nothing", ["null", "undefined", " ", False, [], {}, "[object Object]"])
def test_what_programs_make_of_no_id_is_none(tmp_path: Path, nothing: Any) -> None:
    (event,), _ = events_of(tmp_path, segment(1, "page") | {"userId": nothing})
    assert event["user_id"] == "507f191e810c19729de860ea"
    (event,), _ = events_of(tmp_path, ga4(1, "page_view") | {"user_id": nothing})
    assert event["user_id"] == "1026454.4271112504"


LINE = {"product_id": "507", "quantity": 1, "price": 19}


@pytest.mark.parametrize("products", [json.dumps([LINE]), LINE, ["507"], [None, LINE], 5])
def test_lines_that_cannot_be_read_are_left_to_quarantine(tmp_path: Path, products: Any) -> None:
    order = segment(1, "track", "Order Completed", order_id="o1", total=5, products=products)
    (event,), _ = events_of(tmp_path, order, are_valid=False)
    assert event["data"]["products"] == products


@pytest.mark.parametrize("odd", ['"\\ud83d"', "NaN"])
def test_a_first_line_that_is_not_strict_json_tells_the_layout_too(tmp_path: Path, odd: str) -> None:
    first = json.dumps(segment(1, "identify", odd=0)).replace('"odd": 0', f'"odd": {odd}')
    (event,), left_out = events_of(tmp_path, first, segment(2, "page"))
    assert event["event_type"] == "page_view" and left_out.total() == 1


def test_a_page_or_a_search_beside_several_products_is_one_event(tmp_path: Path) -> None:
    pens = [{"item_id": name} for name in "abc"]
    events, left_out = events_of(
        tmp_path,
        ga4(1, "view_search_results", pens, search_term={"string_value": "pen"}),
        ga4(2, "page_view", pens),
        ga4(3, "view_item_list", pens),
    )
    assert [event["event_type"] for event in events] == ["search", "page_view"]
    assert left_out == {"view_item_list": 1}
    shown = {f"contexts_{ECOMMERCE}_product_1": [{"id": name} for name in "abc"]}
    search = {"unstruct_event_com_snowplowanalytics_snowplow_site_search_1": {"terms": ["pen"]}}
    views = [snowplow(number, "page_view", **shown) for number in (1, 2)]
    events, left_out = events_of(
        tmp_path, *views, snowplow(3, "unstruct", **search, **shown), snowplow(4, "page_ping", **shown)
    )
    assert [event["event_type"] for event in events] == ["page_view", "page_view", "search"]
    assert left_out == {"page_ping": 1}


def test_an_empty_number_is_none(tmp_path: Path) -> None:
    lines = [{"product_id": "p1", "price": "", "quantity": " "}]
    buying = {"order_id": "o1", "total": "", "revenue": "25.0", "products": lines}
    viewed = segment(1, "track", "Product Viewed", product_id="p1", price="", quantity="")
    (view, order), _ = events_of(tmp_path, viewed, segment(2, "track", "Order Completed", **buying))
    assert view["data"] == {"product_id": "p1", "page_url": "https://shop.example/academy/"}
    assert order["data"] == {"order_id": "o1", "total_amount": 25, "products": [{"product_id": "p1"}]}


def test_a_currency_that_is_not_set_is_none(tmp_path: Path) -> None:
    buying = {"value": {"double_value": 9.5}, "currency": {"string_value": "(not set)"}}
    (order,), _ = events_of(tmp_path, ga4(1, "purchase", **buying) | {"ecommerce": {"transaction_id": "T-1"}})
    assert order["data"] == {"order_id": "T-1", "total_amount": 9.5, "products": []}


def test_a_byte_order_mark_may_stand_before_any_line(tmp_path: Path) -> None:
    lines = [json.dumps(segment(number, "page")) for number in range(2)]
    events, left_out = events_of(tmp_path, *(f"\ufeff{line}" for line in lines))
    assert len(events) == 2 and not left_out


def test_a_list_of_calls_is_read_like_lines_of_them(tmp_path: Path) -> None:
    calls = [segment(1, "page"), segment(2, "track", "Product Viewed", product_id="p1", price=12.5)]
    lines, _ = events_of(tmp_path, *calls)
    for text in (json.dumps(calls), json.dumps(calls, indent=2), json.dumps(calls[0], indent=2) + json.dumps(calls[1])):
        assert events_of(tmp_path, text) == (lines, Counter())


def test_blank_lines_before_the_first_do_not_matter(tmp_path: Path) -> None:
    assert events_of(tmp_path, "", " ", segment(1, "page"))[0] == events_of(tmp_path, segment(1, "page"))[0]


def test_a_number_that_may_be_read_in_two_ways_is_left_to_quarantine(tmp_path: Path) -> None:
    order = segment(1, "track", "Order Completed", order_id="o1", total="1_000")
    (event,), _ = events_of(tmp_path, order, are_valid=False)
    assert event["data"]["total_amount"] == "1_000"


def test_a_segment_time_without_a_zone_is_left_to_quarantine(tmp_path: Path) -> None:
    page = segment(1, "page") | {"timestamp": "2026-09-10T09:38:01"}
    (event,), _ = events_of(tmp_path, page, are_valid=False)
    assert event["timestamp"] == "2026-09-10T09:38:01"


def ga4(number: int, name: str, items: list[Event] | None = None, **params: Event) -> Event:
    return {
        "event_date": "20260903",
        "event_timestamp": str(1_788_430_500_000_123 + number * 1_000_000),
        "event_name": name,
        "event_params": [{"key": key, "value": value} for key, value in params.items()],
        "event_bundle_sequence_id": "-4811634157",
        "user_pseudo_id": "1026454.4271112504",
        "device": {"category": "mobile", "web_info": {"browser": "Chrome"}},
        "geo": {"country": "Germany"},
        "stream_id": "2100450278",
        "items": items or [],
    }


def test_ga4_export(tmp_path: Path) -> None:
    items = [
        {"item_id": "9195", "item_name": "Pen", "item_brand": "(not set)", "item_category": "(not set)", "price": 2.5},
        {"item_id": "9196", "item_name": "Ink", "item_category": "Office", "price": 4.0, "quantity": "2"},
    ]
    session = {"ga_session_id": {"int_value": "9838"}}
    buying = {"value": {"double_value": 99.0}, "currency": {"string_value": "EUR"}}
    buy = ga4(4, "purchase", items, **session, **buying)
    no_order = ga4(5, "purchase", items, **buying) | {"ecommerce": {"transaction_id": "(not set)"}}
    events, left_out = events_of(
        tmp_path,
        ga4(1, "page_view", **session, page_location={"string_value": "https://shop.example/"}),
        ga4(2, "view_item", items[:1]),
        ga4(3, "add_to_cart", items),
        buy | {"ecommerce": {"transaction_id": "T-1", "purchase_revenue": 10.5}},
        ga4(6, "search", search_term={"string_value": "pen"}),
        ga4(7, "session_start"),
    )
    assert [event["event_type"] for event in events] == [
        "page_view",
        "product_view",
        "add_to_cart",
        "add_to_cart",
        "purchase",
        "search",
    ]
    assert left_out == {"session_start": 1}
    assert len({event["event_id"] for event in events}) == 6
    assert (events[0]["timestamp"], events[0]["context"]["session_id"]) == (
        "2026-09-03T10:15:01.000Z",
        "1026454.4271112504.9838",
    )
    assert events[0]["data"] == {"page_url": "https://shop.example/", "device": "mobile", "browser": "Chrome"}
    assert events[1]["data"] == {"product_id": "9195", "product_name": "Pen", "price": 2.5}
    assert sorted(event["data"]["product_id"] for event in events[2:4]) == ["9195", "9196"]
    assert events[4]["data"] == {
        "order_id": "T-1",
        "total_amount": 10.5,
        "currency": "EUR",
        "products": [{"product_id": "9195", "price": 2.5}, {"product_id": "9196", "quantity": 2, "price": 4}],
    }
    (tmp_path / "refused.jsonl").write_text(json.dumps(no_order))
    (refused,) = replay(tmp_path / "refused.jsonl")
    assert "order_id" not in json.loads(refused.value or b"")["data"]


def test_two_ga4_rows_of_one_moment_are_two_events(tmp_path: Path) -> None:
    pen, ink = ga4(1, "select_item", [{"item_id": "pen"}]), ga4(1, "select_item", [{"item_id": "ink"}])
    one, other = ga4(2, "page_view", page={"int_value": "1"}), ga4(2, "page_view", page={"int_value": "2"})
    events, _ = events_of(tmp_path, pen, ink, one, other, pen)
    assert len({event["event_id"] for event in events}) == 4


@pytest.mark.parametrize("kind", ["segment", "ga4", "snowplow"])
def test_rows_of_usual_length_fit_into_the_memory(tmp_path: Path, kind: str) -> None:
    pad = {"pad": "x" * 800}
    row = {
        "segment": segment(1, "track", "Product Viewed", product_id="p1") | pad,
        "ga4": ga4(1, "view_item", [{"item_id": f"p{number}", "price": 1.5} for number in range(9)]) | pad,
        "snowplow": action(1, "product_view", product=[{"id": "p1", "price": 1.5}] * 9) | pad,
    }[kind]
    (tmp_path / "export.jsonl").write_text((json.dumps(row) + "\n") * 6_000)
    assert sum(1 for _ in replay(tmp_path / "export.jsonl")) >= 6_000


def snowplow(number: int, event: str, **fields: Any) -> Event:
    return {
        "app_id": "shop",
        "platform": "web",
        "collector_tstamp": f"2026-09-03T10:15:{number:02}.500Z",
        "derived_tstamp": f"2026-09-03T10:15:{number:02}.972Z",
        "event": event,
        "event_id": f"c6ef3124-b53a-4b13-a233-{number:012}",
        "user_ipaddress": "203.0.113.7",
        "domain_userid": "bc2e92ec6c204a14",
        "domain_sessionid": "2b15e5c8-d3b1-11e4-b9d6-1681e6b88ec1",
        "geo_country": "DE",
        "page_url": "https://shop.example/p",
        "useragent": "Mozilla/5.0",
    } | fields


def action(number: int, kind: str, **entities: Any) -> Event:
    named = {f"contexts_{ECOMMERCE}_{name}_1": entity for name, entity in entities.items()}
    return snowplow(number, "unstruct", event_name="snowplow_ecommerce_action", **{ACTION: {"type": kind}}, **named)


def test_snowplow_enriched_events(tmp_path: Path) -> None:
    products = [
        {"id": "12345", "name": "Baseball T", "category": "apparel", "price": 200, "currency": "EUR", "quantity": 2},
        {"id": "12346", "name": "Cap", "category": "apparel", "price": 9.5, "currency": "EUR"},
    ]
    transaction = [{"transaction_id": "T_12345", "revenue": 230.5, "currency": "EUR", "payment_method": "credit_card"}]
    search = {"terms": ["blue", "roses"], "totalResults": 10, "pageResults": 5}
    events, left_out = events_of(
        tmp_path,
        snowplow(1, "page_view", dvce_type="Mobile", br_family="Chrome"),
        action(2, "product_view", product=products[:1]),
        action(3, "add_to_cart", product=products),
        action(4, "transaction", product=products, transaction=transaction),
        action(5, "trns_error", transaction=transaction),
        snowplow(6, "unstruct", unstruct_event_com_snowplowanalytics_snowplow_site_search_1=search),
        snowplow(7, "transaction", user_id="u1", tr_orderid="o7", tr_total=12.5, tr_currency="EUR"),
        snowplow(8, "page_ping"),
        '{"cut off',
    )
    types = [event["event_type"] for event in events]
    assert types == [
        "page_view",
        "product_view",
        "add_to_cart",
        "add_to_cart",
        "purchase",
        "purchase",
        "search",
        "purchase",
    ]
    assert left_out == {"page_ping": 1, "no event": 1}
    assert events[0]["data"] == {"page_url": "https://shop.example/p", "device": "mobile", "browser": "Chrome"}
    assert [event["event_id"][-2:] for event in events[2:4]] == ["03", ".2"]
    assert events[4] == {
        "event_id": "c6ef3124-b53a-4b13-a233-000000000004",
        "event_type": "purchase",
        "user_id": "bc2e92ec6c204a14",
        "timestamp": "2026-09-03T10:15:04.972Z",
        "context": {
            "session_id": "2b15e5c8-d3b1-11e4-b9d6-1681e6b88ec1",
            "device_id": "bc2e92ec6c204a14",
            "ip": "203.0.113.7",
            "country": "DE",
            "user_agent": "Mozilla/5.0",
        },
        "data": {
            "order_id": "T_12345",
            "total_amount": 230.5,
            "currency": "EUR",
            "payment_method": "credit_card",
            "products": [
                {"product_id": "12345", "quantity": 2, "price": 200},
                {"product_id": "12346", "price": 9.5},
            ],
        },
    }
    assert events[5]["data"]["payment_status"] == "declined"
    assert events[6]["data"] == {"query": "blue roses", "results_count": 10}
    assert (events[7]["user_id"], events[7]["data"]["total_amount"]) == ("u1", 12.5)
