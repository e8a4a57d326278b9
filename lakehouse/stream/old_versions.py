"""Deletes everything of tables but their newest version: for data that must be gone, not only invisible.

A vacuum keeps files for hours, and the log keeps the smallest and largest values of deleted files. Here both go as
soon as no one can need them: writers have to start again, and readers get some time to finish.
"""

import time
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from lakehouse.delta_log import snapshot
from lakehouse.lake import Lake
from lakehouse.s3 import delete_objects, listed, s3_client
from lakehouse.small_tables import FRESH_SECONDS
from lakehouse.stream import log_cleanup
from lakehouse.table import Table

_KEY = "_shoplake/closed"
_TICK_SECONDS = 1.1
"""S3's clock shows whole seconds."""


def close(lake: Lake, tables: Iterable[Table]) -> datetime:
    """Give every table a new version without new rows, and a checkpoint of it.

    Files that were written before the returned moment (by the clock of S3) and are not in the newest version will never
    be added: commits under way fail, and are repeated with new files.
    """
    closed, client, bucket = list(tables), s3_client(lake.settings), lake.settings.bucket
    lake.fence(closed, uuid.uuid4().hex)
    for table in closed:
        lake.small.checkpoint(table)
    time.sleep(_TICK_SECONDS)
    client.put_object(Bucket=bucket, Key=_KEY, Body=b"")
    moment: datetime = client.head_object(Bucket=bucket, Key=_KEY)["LastModified"]
    lake.fence(closed, uuid.uuid4().hex)
    time.sleep(FRESH_SECONDS)  # until no writer goes by what it knew of a log that may be deleted now
    return moment


def delete(lake: Lake, client: Any, table: Table, before: datetime) -> int:
    """Delete what was written before `before` and the newest version does not need: data files, log, and versions that
    the bucket keeps of them. Returns how many objects. Readers of an older version fail from now on."""
    bucket, prefix = lake.settings.bucket, f"{table.layer}/{table.name}/"
    found = [one for one in listed(client, bucket, prefix) if one["LastModified"] < before]
    newest = snapshot(client, bucket, table)  # read after the listing: a listed file is in it, or is not needed
    if newest is None:
        return 0
    needed = {*newest.data, *newest.log}
    old = [one["Key"] for one in found if "/_delta_log/" not in one["Key"] and one["Key"] not in needed]
    delete_objects(client, bucket, [{"Key": key} for key in old])
    deleted = len(old) + log_cleanup.clean(client, bucket, table, before)
    return deleted + (0 if lake.settings.s3_is_embedded else delete_kept(client, bucket, prefix))


def delete_kept(client: Any, bucket: str, prefix: str) -> int:
    """Delete what a bucket with versioning keeps of objects that were deleted or written over; how many. A role that
    may not, and a server that knows no versions, leave them to the bucket's own rule."""
    from botocore.exceptions import ClientError

    try:
        pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
        old = [
            {"Key": one["Key"], "VersionId": one["VersionId"]}
            for page in pages
            for one in (
                *(one for one in page.get("Versions", ()) if not one["IsLatest"]),
                *page.get("DeleteMarkers", ()),
            )
        ]
        delete_objects(client, bucket, old)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403, 404, 405, 501):
            return 0
        raise
    return len(old)
