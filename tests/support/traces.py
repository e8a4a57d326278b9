"""Looks for words in everything that a lake keeps: in the bytes, and in what compressed files say when they are read.

A word may have several spellings.
"""

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as parquet

from lakehouse.s3 import s3_client
from lakehouse.settings import Settings


def in_bucket(settings: Settings, words: Collection[str]) -> list[str]:
    """Keys of the objects that have it, Delta logs, checkpoints and statistics of files included."""
    client = s3_client(settings)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=settings.bucket)
    keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
    assert keys
    return [key for key in keys if _is_in(key, words) or _has(client, settings.bucket, key, words)]


def in_files(folder: Path, words: Collection[str]) -> list[str]:
    """Files of a folder, or a file, that have it; databases of DuckDB are also read."""
    files = [file for file in (folder, *folder.rglob("*")) if file.is_file()]
    return [str(file) for file in files if _is_in(_bytes(file), words) or _is_told(file, words)]


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:  # deleted since it was listed
        return b""


def _is_in(value: Any, words: Collection[str]) -> bool:
    if isinstance(value, bytes):
        return any(word.encode() in value for word in words)
    return any(word in str(value) for word in words)


def _has(client: Any, bucket: str, key: str, words: Collection[str]) -> bool:
    try:
        body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey:  # deleted since it was listed
        return False
    if _is_in(body, words):
        return True
    if not key.endswith(".parquet"):
        return False
    file = parquet.ParquetFile(io.BytesIO(body))
    columns = file.read().columns
    return _is_in(file.metadata.to_dict(), words) or any(
        _is_in(value, words) for column in columns for value in column.to_pylist()
    )


def _is_told(file: Path, words: Collection[str]) -> bool:
    if not file.name.endswith(".duckdb"):
        return False
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            names = connection.execute(
                "SELECT '\"' || schema_name || '\".\"' || table_name || '\"' FROM duckdb_tables()"
            ).fetchall()
            return any(_is_in(connection.execute(f"FROM {name}").fetchall(), words) for (name,) in names)
    except duckdb.Error:  # somebody has it open, and its bytes were looked at
        return False
