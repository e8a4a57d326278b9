"""The parts of the platform, in the order in which `status` shows them. A new part is one line here."""

from __future__ import annotations

from lakehouse.services import api, cluster, kafka, publisher, s3, spark, stream, superset, worker
from lakehouse.services.service import Service
from lakehouse.settings import Settings

PARTS = (kafka, s3, spark, stream, worker, publisher, api, superset)


def services(settings: Settings, *, with_stream: bool = True, with_superset: bool = True) -> list[Service]:
    """All parts of this lake; external ones are in the list too and are not started."""
    left_out = ([] if with_stream else [stream]) + ([] if with_superset else [superset])
    found = [part.service(settings) for part in PARTS if part not in left_out]
    return [*found[:2], *cluster.services(settings), *found[2:]]
