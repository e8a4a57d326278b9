"""What a bucket keeps of deleted objects goes, where it keeps some; tables: tests/e2e/shop/test_forget_tables.py."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lakehouse.s3 import delete_objects, s3_client
from lakehouse.stream import old_versions
from tests.support.moto_lake import moto_lake


def test_what_a_versioned_bucket_keeps_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with moto_lake(tmp_path, monkeypatch, bucket_versioning=True) as settings:
        client = s3_client(settings)
        for key in ("silver/events/a", "silver/events/b", "silver/other/a"):
            for body in (b"old", b"new"):
                client.put_object(Bucket="lake", Key=key, Body=body)
        client.delete_object(Bucket="lake", Key="silver/events/b")
        assert old_versions.delete_kept(client, "lake", "silver/events/") == 4
        left = client.list_object_versions(Bucket="lake")
        assert sorted((one["Key"], one["IsLatest"]) for one in left["Versions"]) == [
            ("silver/events/a", True),
            ("silver/other/a", False),
            ("silver/other/a", True),
        ]
        assert "DeleteMarkers" not in left


@pytest.mark.parametrize(("status", "is_left"), [(403, True), (501, True), (500, False)])
def test_who_may_not_look_at_versions_leaves_them(status: int, is_left: bool) -> None:
    class Refusing:
        def get_paginator(self, name: str) -> Any:
            answer: Any = {"Error": {"Code": "Refused"}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise ClientError(answer, name)

    if is_left:
        assert old_versions.delete_kept(Refusing(), "lake", "silver/events/") == 0
    else:
        with pytest.raises(ClientError):
            old_versions.delete_kept(Refusing(), "lake", "silver/events/")


def test_an_object_that_s3_refuses_to_delete_is_not_counted_as_deleted() -> None:
    class Refusing:
        def delete_objects(self, **_asked: Any) -> dict[str, Any]:
            return {"Errors": [{"Key": "a", "Code": "AccessDenied", "Message": "not yours"}]}

    with pytest.raises(ClientError, match="AccessDenied"):
        delete_objects(Refusing(), "lake", [{"Key": "a"}])
