"""The parts of the platform, in the order in which `status` shows them. A new part is one line here."""

from __future__ import annotations

from lakehouse.embedded import api, kafka, s3, spark, stream, worker
from lakehouse.embedded.service import Service
from lakehouse.settings import Settings

PARTS = (kafka, s3, spark, stream, worker, api)


def services(settings: Settings, *, with_stream: bool = True) -> list[Service]:
    """All parts of this lake; external ones are in the list too and are not started."""
    return [part.service(settings) for part in PARTS if with_stream or part is not stream]
