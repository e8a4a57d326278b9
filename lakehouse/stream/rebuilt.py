"""Two objects in the bucket by which a job that replaces rows of silver informs the running stream.

The stream keeps the newest hours of silver in memory, to find duplicates and to write live gold. Once a job has
replaced rows of these hours, memory is outdated: the job leaves a new note, and the stream reads the hours again.
While a job replaces rows, the stream merges none of their files: if two writers rewrite the same files, Delta lets the
first one win, and the job would lose again and again.
"""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse import hours as clock
from lakehouse import s3
from lakehouse.settings import Settings
from lakehouse.stream.fold import frontier_at

KEY, UNDER_WAY = "_shoplake/rebuilt", "_shoplake/rebuilding"
LONGEST_HOURS = 6
"""A job that has been replacing rows for longer is considered dead."""


def tell(settings: Settings, hours: Iterable[int]) -> None:
    """Leave a note that rows of these clock hours were replaced; nothing when all of them lie before the window."""
    if max(hours, default=0) >= clock.number_of(frontier_at(datetime.now(UTC))):
        s3.s3_client(settings).put_object(Bucket=settings.bucket, Key=KEY, Body=uuid.uuid4().hex.encode())


def note(client: Any, bucket: str, known: str | None = None) -> str | None:
    """The ETag of the newest note; None without one. Returns `known` if S3 cannot be reached."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(client.head_object(Bucket=bucket, Key=KEY)["ETag"])
    except ClientError as error:
        return None if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404 else known
    except BotoCoreError:
        return known


@contextmanager
def under_way(settings: Settings) -> Iterator[None]:
    """Keep the stream from merging files of silver within this block."""
    client = s3.s3_client(settings)
    client.put_object(Bucket=settings.bucket, Key=UNDER_WAY, Body=b"")
    try:
        yield
    finally:
        client.delete_object(Bucket=settings.bucket, Key=UNDER_WAY)


def is_under_way(client: Any, bucket: str) -> bool:
    """True while a job replaces rows of silver. Raises if S3 cannot be reached: no files can be merged then."""
    from botocore.exceptions import ClientError

    try:
        began = client.head_object(Bucket=bucket, Key=UNDER_WAY)["LastModified"]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return bool(datetime.now(UTC) - began < timedelta(hours=LONGEST_HOURS))
