"""What a record's value carries, whatever its bytes are."""

import duckdb

from lakehouse.raw_records import carries, field_of


def test_a_value_that_is_all_brackets_fills_no_memory() -> None:
    """The API asks with 96 MB."""
    values = [
        *[b"[" * 500_000 + b"]" * 500_000] * 3,
        b'{"event_id": "e1", "timestamp": 1}',
        b'{"event_id": "e1"',
        b"\xff",
        None,
    ]
    asked = f"SELECT {field_of('event_id')}, try_cast({field_of('timestamp')} AS TIMESTAMPTZ) FROM records"
    with duckdb.connect(config={"memory_limit": "96MB", "threads": 8}) as connection:
        connection.execute("CREATE TABLE records (value BLOB)")
        connection.executemany("INSERT INTO records VALUES (?)", [[value] for value in values])
        found = connection.execute(asked).fetchall()
        assert found == [*[(None, None)] * 3, ("e1", None), (None, None), (None, None), (None, None)]
        assert len(connection.execute(f"FROM records WHERE {carries('event_id', 'e1')}").fetchall()) == 2
