"""What a table is: a declaration that code, documents and tests read. Nothing here reads or writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pyspark.sql.types import DataType, StructField, StructType

from lakehouse.file_ages import KEEP_HOURS


@dataclass(frozen=True)
class Table:
    """A Delta table at `s3://<bucket>/<layer>/<name>`.

    `schema` states every column with its type and, in the column's comment, unit and meaning;
    timestamps are UTC. `keys` identify a row, `grain` says it in words.
    """

    layer: str
    name: str
    grain: str
    schema: StructType
    keys: tuple[str, ...]
    partition_by: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()
    """Rows of a past day that have like values here lie together: for columns that lookups name. Needs a partition by
    day, and the columns among `statistics`, since a file is passed over by its least and greatest values."""
    properties: dict[str, str] = field(default_factory=dict)
    writer: Literal["spark", "delta-rs"] = "spark"
    """The one library that writes it, for ever: delta-rs for small tables (`lakehouse.small_tables` says why)."""
    keep_hours: float = 24.0
    """For how long files are kept that the newest version does not need."""

    def __post_init__(self) -> None:
        """Raise ValueError for a table that cannot be clustered, or whose files go while somebody may need them."""
        if not self.keep_hours >= KEEP_HOURS:
            raise ValueError(f"files of the last {KEEP_HOURS} hours may still be needed, not only of {self.keep_hours}")
        if self.cluster_by and not (len(self.partition_by) == 1 and set(self.cluster_by) <= set(self.statistics)):
            raise ValueError(f"{self.full_name} is clustered, so it needs one partition column, and statistics of each")

    @property
    def is_small(self) -> bool:
        """Whether delta-rs writes it."""
        return self.writer == "delta-rs"

    @property
    def full_name(self) -> str:
        """`layer.name`, as SQL spells it."""
        return f"{self.layer}.{self.name}"

    @property
    def columns(self) -> list[str]:
        """The column names in declared order."""
        return self.schema.fieldNames()


def column(name: str, data_type: DataType, comment: str) -> StructField:
    """A column of a declared schema; `comment` gives meaning and unit, and reaches the Delta table."""
    return StructField(name, data_type, True, {"comment": comment})
