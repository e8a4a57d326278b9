"""A lake of a few hand-made Delta tables with a publisher over them; no Spark, no broker."""

import json
from collections.abc import Callable
from pathlib import Path

from pyspark.sql.types import StructType

from gold import kpis, top_products
from lakehouse.delta_log import DeltaLog
from lakehouse.ops import batches, erasures
from lakehouse.serving.file import open_serving
from lakehouse.serving.publisher import Publisher
from lakehouse.settings import Settings
from lakehouse.sql import connect
from lakehouse.table import Table
from quality import results
from silver import quarantine
from tests.support.folder_s3 import FolderS3, FolderTable

TABLES = (
    kpis.TABLE, top_products.LAST_HOUR, batches.TABLE, results.TABLE, results.OVERRIDES, results.LEDGER,
    quarantine.TABLE, erasures.RECEIPTS,
)  # fmt: skip


class Lake:
    """Some Delta tables by hand, and a publisher over them."""

    def __init__(self, folder: Path) -> None:
        self.s3 = FolderS3(folder / "s3")
        self.settings = Settings(_env_file=None, s3_port=self.s3.port, data_dir=folder / "data")
        self.tables = {table.full_name: self._create(table) for table in TABLES}
        self.reader = connect(self.settings)
        self.publisher = Publisher(self.settings, self.reader, DeltaLog(self.settings))

    def _create(self, table: Table) -> FolderTable:
        made = FolderTable(
            self.s3.folder / "shoplake" / table.layer / table.name, _types(table.schema), table.partition_by
        )
        made.create()
        return made

    def add_hour(self, hour: str, clicks: int, **more: float | str) -> None:
        """An hour with clicks of one user, and nothing else but `more`, in SQL."""
        counts = ("page_views", "product_views", "carts", "purchases", "searches", "revenue", "conversion_rate")
        figures = {**dict.fromkeys(counts, 0), "unique_users": 1, "clicks": clicks, **more}
        values = {"hour_start": f"TIMESTAMPTZ '{hour}+00'", **{name: str(value) for name, value in figures.items()}}
        self._add(kpis.TABLE, values, {"hour_date": hour[:10]})

    def replace_hour(self, hour: str, clicks: int) -> None:
        """The hour's day is written anew, with nothing but this hour."""
        self._replace(kpis.TABLE, lambda: self.add_hour(hour, clicks), hour[:10])

    def add_top(self, views: int) -> None:
        """The product on the first place of the rolling hour."""
        moments = {
            "as_of": "TIMESTAMPTZ '2026-09-01 10:00:00+00'",
            "window_start": "TIMESTAMPTZ '2026-09-01 09:00:00+00'",
        }
        product = {"rank": "1", "product_id": "'p1'", "views": str(views), "unique_viewers": "1"}
        self._add(top_products.LAST_HOUR, moments | product)

    def replace_top(self, views: int) -> None:
        """As an overwrite does: the old files are removed in the same commit."""
        self._replace(top_products.LAST_HOUR, lambda: self.add_top(views))

    def _replace(self, table_: Table, add: Callable[[], None], day: str = "", column: str = "hour_date") -> None:
        table = self.tables[table_.full_name]
        commits = sorted((table.folder / "_delta_log").glob("*.json"))
        actions = [json.loads(line) for commit in commits for line in commit.read_text().splitlines()]
        gone = {action["remove"]["path"] for action in actions if "remove" in action}
        values = {column: day} if day else {}
        old = [
            action["add"]["path"]
            for action in actions
            if "add" in action and action["add"]["path"] not in gone and action["add"]["partitionValues"] == values
        ]
        add()
        commit = table.folder / "_delta_log" / f"{table.version - 1:020}.json"
        removes = [
            {"remove": {"path": name, "dataChange": True, "deletionTimestamp": 0, "partitionValues": values}}
            for name in old
        ]
        commit.write_text("\n".join([commit.read_text(), *map(json.dumps, removes)]))

    def add_batch(self, number: int) -> None:
        self._add(batches.TABLE, {"batch_id": str(number), "committed_at": "now()"})

    def add_reconciled(self, is_balanced: bool) -> None:
        """A run of reconcile that could tell whether the books balance."""
        self._add(results.LEDGER, {"run_id": "'run'", "checked_at": "now()", "is_balanced": str(is_balanced)})

    def add_receipt(self) -> None:
        """Somebody was forgotten."""
        self._add(erasures.RECEIPTS, {"run_id": "'run'", "erased_at": "now()"})

    def add_refused(self, offset: int, detail: str = "data.order_id is missing") -> None:
        """A refused record of the morning of 2026-09-01."""
        texts = {"topic": "shop.purchases", "reason_code": "missing_field", "reason_detail": detail, "status": "open"}
        values = {name: f"'{value}'" for name, value in texts.items()}
        at = {"offset": str(offset), "quarantined_at": f"TIMESTAMPTZ '2026-09-01 10:00:0{offset}+00'"}
        self._add(quarantine.TABLE, values | at, {"ingest_date": "2026-09-01"})

    def resolve_refused(self, offset: int) -> None:
        """The day is written anew, with nothing but this record."""
        day = ("2026-09-01", "ingest_date")
        self._replace(quarantine.TABLE, lambda: self.add_refused(offset), *day)

    def result(self, table: str, expectation: str, *, success: bool, at: str, observed: str = "{}") -> None:
        """A verdict of the job `quality` about a `block` expectation; `at` is an SQL moment."""
        texts = {"table_name": table, "expectation": expectation, "severity": "block", "observed": observed}
        values = {name: f"'{value}'" for name, value in texts.items()}
        self._add(results.TABLE, values | {"success": str(success), "checked_at": at})

    def override(self, expectation: str, until: str) -> None:
        """The only override: what fails this expectation is published until then, an SQL moment."""
        values = {"expectation": f"'{expectation}'", "decided_at": "now()", "expires_at": until}
        self._replace(results.OVERRIDES, lambda: self._add(results.OVERRIDES, values))

    def _add(self, table: Table, values: dict[str, str], partition: dict[str, str] | None = None) -> None:
        columns = ", ".join(
            f'({values.get(name, "NULL")})::{_duckdb_type(kind)} AS "{name}"'
            for name, kind in _types(table.schema).items()
            if name not in table.partition_by
        )
        self.tables[table.full_name].commit(f"SELECT {columns}", partition)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with open_serving(self.settings.serving_file) as connection:
            return connection.execute(sql).fetchall()

    def close(self) -> None:
        self.reader.close()
        self.s3.close()


def _types(schema: StructType) -> dict[str, object]:
    return {field.name: field.dataType.jsonValue() for field in schema.fields}


def _duckdb_type(kind: object) -> str:
    names = {"string": "VARCHAR", "long": "BIGINT", "timestamp": "TIMESTAMPTZ"}
    return "VARCHAR[]" if isinstance(kind, dict) else names.get(str(kind), str(kind))
