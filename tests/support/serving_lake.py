"""A lake of three hand-made Delta tables with a publisher over them; no Spark, no broker."""

import json
from pathlib import Path

from pyspark.sql.types import StructType

from gold import kpis, top_products
from lakehouse import batches
from lakehouse.delta_log import DeltaLog
from lakehouse.serving import Publisher
from lakehouse.serving_file import open_serving
from lakehouse.settings import Settings
from lakehouse.sql import connect
from lakehouse.table import Table
from tests.support.folder_s3 import FolderS3, FolderTable


class Lake:
    """Three Delta tables by hand, and a publisher over them."""

    def __init__(self, folder: Path) -> None:
        self.s3 = FolderS3(folder / "s3")
        self.settings = Settings(_env_file=None, s3_port=self.s3.port, data_dir=folder / "data")
        self.tables = {
            table.full_name: self._create(table) for table in (kpis.TABLE, top_products.LAST_HOUR, batches.TABLE)
        }
        self.reader = connect(self.settings)
        self.blocked: dict[str, list[str]] = {}
        self.publisher = Publisher(self.settings, self.reader, DeltaLog(self.settings), lambda: self.blocked)

    def _create(self, table: Table) -> FolderTable:
        made = FolderTable(
            self.s3.folder / "shoplake" / table.layer / table.name, _types(table.schema), table.partition_by
        )
        made.create()
        return made

    def add_hour(self, hour: str, clicks: int) -> None:
        values = {"hour_start": f"TIMESTAMPTZ '{hour}+00'", "clicks": str(clicks)}
        self._add(kpis.TABLE, values, {"hour_date": hour[:10]})

    def add_rank(self, rank: int) -> None:
        self._add(top_products.LAST_HOUR, {"rank": str(rank), "as_of": "TIMESTAMPTZ '2026-09-01 10:00:00+00'"})

    def replace_rank(self, rank: int) -> None:
        """As an overwrite does: the old files are removed in the same commit."""
        table = self.tables["gold.top_products_last_hour"]
        old = sorted(path.name for path in table.folder.glob("*.parquet"))
        self.add_rank(rank)
        commit = table.folder / "_delta_log" / f"{table.version - 1:020}.json"
        removes = [{"remove": {"path": name, "dataChange": True, "deletionTimestamp": 0}} for name in old]
        commit.write_text("\n".join([commit.read_text(), *map(json.dumps, removes)]))

    def add_batch(self, number: int) -> None:
        self._add(batches.TABLE, {"batch_id": str(number), "committed_at": "now()"})

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
    return names.get(str(kind), str(kind))
