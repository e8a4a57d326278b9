"""What a table is: a declaration that code, documents and tests read. Nothing here reads or writes the lake."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pyspark.sql.types import DataType, StructField, StructType

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.settings import Settings

LONGEST_RUN_SECONDS = 3600
"""No attempt of a job may take longer, reading and writing; `lakehouse.jobs` refuses a job that may."""
READER_SECONDS = 900
"""Others than jobs hold a version while they answer one query: seconds, minutes at most."""
KEEP_HOURS = (LONGEST_RUN_SECONDS + READER_SECONDS) / 3600
"""So long files are kept at least that no newest version needs, for those who still write or read them: a file counts
as unneeded from its first byte until the commit that names it, and again from the commit that replaces it."""
LOG_HOURS = KEEP_HOURS
"""For how long a version can be opened: its log is not cleaned up before. No longer than somebody may need, because
Delta lists the whole log with every look and every commit: a day of micro-batches is tens of thousands of objects,
in requests of a thousand."""
HourlyRows = Callable[["DataFrame", "Settings"], "DataFrame"]
"""Makes a table's rows of the clock hours of some silver events."""


@dataclass(frozen=True)
class Kept:
    """Rows that are kept of every micro-batch: `of_batch` makes them. Each has the column `age`, the hour that it
    belongs to, or with `per_second` the second: then only the rolling last hour is kept.

    The SQL reads `new_events`, the accepted events of one micro-batch: `moment` (event_time in microseconds since the
    epoch), `hour` (the clock hour that holds it, counted since the epoch), `u` (a hash of user_id) and columns of
    silver.events.
    """

    of_batch: str
    merged: str = ""
    """Makes rows of equal grain one, where that is worth it; with the places {kept} and {where}."""
    is_set: bool = False
    """Rows have the column `key`, a hash of all others and of what is counted, and one that is there already is not
    kept again. How many there are is kept beside them, by their other columns, as `size`: to count them anew would cost
    what they are, not what came."""
    is_met: bool = False
    """Rows are `age` and `key`, a hash. `NAME_met` has all kept ones with a key of this batch, before its own."""
    per_second: bool = False


@dataclass(frozen=True)
class Live:
    """How DuckDB makes a table's rows while events come. `rows` makes those of some hours: of {hours}, with the places
    {as_of} (seconds since the epoch), {top_n}, {currency} (the shop's, or NULL), and one per name in `kept` that
    merges or is a set: its merged rows, or its sizes."""

    rows: str
    kept: dict[str, Kept] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    """What several of `kept` read of a batch, made once, before them."""


@dataclass(frozen=True)
class Extract:
    """What the serving file has under its own `name`, such as a part of a table that is too large for it.

    `select` has the place {scan}; `keep` is a condition on the rows that stay; `merged` makes one of the rows that
    files which were added have brought beside others of their group. `columns` are name, type in DuckDB and meaning,
    where they are others than the table's.
    """

    name: str
    grain: str
    columns: tuple[tuple[str, str, str], ...] = ()
    select: str = "SELECT * FROM {scan}"
    keep: str = ""
    merged: str = ""


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
    """Who replaces its rows: delta-rs those of small tables, Spark those of large ones. delta-rs adds rows to all
    tables, makes them and tidies them (docs/decisions/who-writes.md)."""
    fed: Literal["live", "batch"] = "batch"
    """live: the stream writes it with its batches, and tidies it; batch: jobs and people do."""
    rows: Literal["appended", "rebuilt", "replaced"] = "appended"
    """They stay; or they stay until a job writes their day anew; or the next write takes their place."""
    keep_hours: float = 24.0
    """For how long files are kept that the newest version does not need."""
    served: bool | Extract = True
    """Whether the serving file has it, and so dashboards and the API; or what it has of it."""
    newest: str = ""
    """The column of what is served that tells how new the data is; empty where none does."""
    reads: tuple[str, ...] = ()
    """The columns of silver.events that a live table of gold is made of."""
    hourly: HourlyRows | None = None
    """Set where rows belong to one clock hour each (gold/hourly.py): hours that close, late data and jobs use it."""
    live: Live | None = None
    """Set where rows follow every batch: of the hours that it touched, or of the rolling hour in a table that is not
    `hourly`."""

    def __post_init__(self) -> None:
        """Raise ValueError for a table that cannot be clustered, or whose files go while somebody may need them."""
        if not self.keep_hours >= KEEP_HOURS:
            raise ValueError(f"files of the last {KEEP_HOURS} hours may still be needed, not only of {self.keep_hours}")
        if self.cluster_by and not (len(self.partition_by) == 1 and set(self.cluster_by) <= set(self.statistics)):
            raise ValueError(f"{self.full_name} is clustered, so it needs one partition column, and statistics of each")

    @property
    def is_small(self) -> bool:
        """True where delta-rs replaces its rows, too."""
        return self.writer == "delta-rs"

    @property
    def full_name(self) -> str:
        """`layer.name`, as SQL spells it."""
        return f"{self.layer}.{self.name}"

    @property
    def served_as(self) -> str:
        """Its name in the serving file, empty where it is not in it."""
        return self.served.name if isinstance(self.served, Extract) else self.full_name if self.served else ""

    @property
    def columns(self) -> list[str]:
        """The column names in declared order."""
        return self.schema.fieldNames()


def column(name: str, data_type: DataType, comment: str) -> StructField:
    """A column of a declared schema; `comment` gives meaning and unit, and reaches the Delta table."""
    return StructField(name, data_type, True, {"comment": comment})


def with_constants(rows: pa.Table, **values: date | datetime | int | str) -> pa.Table:
    """`rows` with a column for each of `values`."""
    for name, value in values.items():
        rows = rows.append_column(name, pa.repeat(pa.scalar(value), rows.num_rows))
    return rows
