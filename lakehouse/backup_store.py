"""Where backups lie: a folder, or a place in S3 behind the lake's own endpoint and credentials."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lakehouse.errors import UsageError
from lakehouse.s3 import delete_objects, inside, listed, s3_client
from lakehouse.settings import Settings

LAKE = "lake"
"""The folder of a backup with the lake's keys below it, as they are in the bucket."""


@dataclass(frozen=True)
class Store:
    """A folder of this machine or, with a bucket, a prefix in S3 without its last slash.

    `client` speaks to S3. Objects go from bucket to bucket inside S3.
    """

    client: Any
    bucket: str | None
    path: str

    def __str__(self) -> str:
        """The address."""
        return self.path if self.bucket is None else f"s3://{self.bucket}/{self.path}".rstrip("/")

    def below(self, name: str) -> Store:
        """The folder of that name in this one."""
        return replace(self, path=f"{self.path}/{name}" if self.path else name)

    def folders(self) -> list[str]:
        """Names of the folders in this one, sorted."""
        if self.bucket is None:
            return sorted(path.name for path in Path(self.path).glob("*/"))
        prefix = f"{self.path}/" if self.path else ""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        found = (one["Prefix"] for page in pages for one in page.get("CommonPrefixes", []))
        return sorted(str(key).removeprefix(prefix).rstrip("/") for key in found)

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        if self.bucket is None:
            return Path(self.path, name).is_file()
        key = self.below(name).path
        return bool(self.client.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1).get("KeyCount"))

    def read(self, name: str) -> bytes:
        """A small file."""
        if self.bucket is None:
            return Path(self.path, name).read_bytes()
        return bytes(self.client.get_object(Bucket=self.bucket, Key=self.below(name).path)["Body"].read())

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, in a folder readable for its owner only."""
        if self.bucket is not None:
            self.client.put_object(Bucket=self.bucket, Key=self.below(name).path, Body=content)
            return
        file = Path(self.path, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(content)

    def delete(self) -> None:
        """Delete this folder with everything in it."""
        if self.bucket is None:
            shutil.rmtree(self.path)
            return
        found = [{"Key": one["Key"]} for one in listed(self.client, self.bucket, f"{self.path}/")]
        delete_objects(self.client, self.bucket, found)

    def _here(self, key: str) -> str:
        """Where the object of that key lies. Raises ShoplakeError for a key that leads out of the backup."""
        return self.below(LAKE).below(inside(key, str(self))).path

    def take(self, lake: str, key: str) -> None:
        """Copy an object of the bucket `lake` in here."""
        here = self._here(key)
        if self.bucket is not None:
            self.client.copy({"Bucket": lake, "Key": key}, self.bucket, here)
            return
        Path(here).parent.mkdir(parents=True, exist_ok=True)
        self.client.download_file(lake, key, here)

    def give(self, lake: str, key: str) -> None:
        """Copy an object from here into the bucket `lake`."""
        here = self._here(key)
        if self.bucket is not None:
            self.client.copy({"Bucket": self.bucket, "Key": here}, lake, key)
            return
        self.client.upload_file(here, lake, key)


def store_at(settings: Settings, address: str) -> Store:
    """The place that a person has named. Raises UsageError for an address of another kind, or inside the lake."""
    if "://" not in address:
        return Store(s3_client(settings), None, str(Path(address).expanduser().absolute()))
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*?))?/?", address)
    if found is None:
        raise UsageError(f"{address} is no place for a backup: give a folder, or s3://bucket/prefix.")
    if found[1] == settings.bucket:
        raise UsageError(f"{address} is in the lake's own bucket, which a backup must outlive: use another bucket.")
    return Store(s3_client(settings), found[1], found[2] or "")
