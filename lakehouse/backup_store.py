"""Where backups lie: a folder, or a place in S3 behind the lake's own endpoint and credentials."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lakehouse.embedded.s3 import s3_client
from lakehouse.errors import UsageError
from lakehouse.settings import Settings

LAKE = "lake"
"""The folder of a backup with the lake's keys below it, as they are in the bucket."""


class Store(ABC):
    """A folder of files, or something like it."""

    @abstractmethod
    def below(self, name: str) -> Store:
        """The folder of that name in this one."""

    @abstractmethod
    def folders(self) -> list[str]:
        """Names of the folders in this one, sorted."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A small file."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a small file, readable for its owner only where that can be said."""

    @abstractmethod
    def take(self, client: Any, bucket: str, key: str) -> None:
        """Copy an object of the lake in here."""

    @abstractmethod
    def give(self, client: Any, bucket: str, key: str) -> None:
        """Copy an object from here into the lake."""


class FolderStore(Store):
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        """Made when something is written."""
        self._path = path

    def __str__(self) -> str:
        """The path."""
        return str(self._path)

    def below(self, name: str) -> FolderStore:
        """See Store."""
        return FolderStore(self._path / name)

    def folders(self) -> list[str]:
        """See Store."""
        return sorted(path.name for path in self._path.glob("*/")) if self._path.is_dir() else []

    def has(self, name: str) -> bool:
        """See Store."""
        return (self._path / name).is_file()

    def read(self, name: str) -> bytes:
        """See Store."""
        return (self._path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """See Store."""
        self._path.mkdir(parents=True, exist_ok=True)
        file = self._path / name
        file.touch(mode=0o600)
        file.write_bytes(content)

    def take(self, client: Any, bucket: str, key: str) -> None:
        """See Store."""
        file = self._path / LAKE / key
        file.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(bucket, key, str(file))

    def give(self, client: Any, bucket: str, key: str) -> None:
        """See Store."""
        client.upload_file(str(self._path / LAKE / key), bucket, key)


class S3Store(Store):
    """A prefix in a bucket; objects go from bucket to bucket inside S3."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        """`prefix` is empty or ends with a slash."""
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def __str__(self) -> str:
        """The address."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def below(self, name: str) -> S3Store:
        """See Store."""
        return S3Store(self._client, self._bucket, f"{self._prefix}{name}/")

    def folders(self) -> list[str]:
        """See Store."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
        )
        found = (one["Prefix"] for page in pages for one in page.get("CommonPrefixes", []))
        return sorted(str(prefix)[len(self._prefix) :].rstrip("/") for prefix in found)

    def has(self, name: str) -> bool:
        """See Store."""
        found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._prefix}{name}", MaxKeys=1)
        return bool(found.get("KeyCount"))

    def read(self, name: str) -> bytes:
        """See Store."""
        body: bytes = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")["Body"].read()
        return body

    def write(self, name: str, content: bytes) -> None:
        """See Store."""
        self._client.put_object(Bucket=self._bucket, Key=f"{self._prefix}{name}", Body=content)

    def take(self, client: Any, bucket: str, key: str) -> None:
        """See Store."""
        client.copy({"Bucket": bucket, "Key": key}, self._bucket, f"{self._prefix}{LAKE}/{key}")

    def give(self, client: Any, bucket: str, key: str) -> None:
        """See Store."""
        client.copy({"Bucket": self._bucket, "Key": f"{self._prefix}{LAKE}/{key}"}, bucket, key)


def store_at(settings: Settings, address: str) -> Store:
    """The place that a person has named. Raises UsageError for an address of another kind, or inside the lake."""
    if not address.startswith("s3://"):
        if "://" in address:
            raise UsageError(f"{address} is no place for a backup: give a folder, or s3://bucket/prefix.")
        return FolderStore(Path(address).expanduser().absolute())
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*?))?/?", address)
    if found is None:
        raise UsageError(f"{address} is no place for a backup: give a folder, or s3://bucket/prefix.")
    bucket, prefix = found[1], found[2] or ""
    if bucket == settings.bucket:
        raise UsageError(f"{address} is in the lake's own bucket, which a backup must outlive: use another bucket.")
    return S3Store(s3_client(settings), bucket, f"{prefix}/" if prefix else "")
