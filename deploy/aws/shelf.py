"""The bucket of the releases: archives, what each release was deployed with, and what machines said last."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

WORDS = 15
"""Lines of a machine's log that a failed deploy shows."""
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


@dataclass(frozen=True)
class Pin:
    """What a release was deployed with, for a rollback: the address of its templates, and its image."""

    templates: str
    image: str


class Shelf:
    """The bucket `bucket`; `session` is boto3's."""

    def __init__(self, session: Any, bucket: str) -> None:
        self.bucket, self._session, self._client = bucket, session, session.client("s3")

    def pin(self, release: str) -> Pin | None:
        """What a release was deployed with; None when it never was."""
        if release not in self.deployed():
            return None
        found = self._client.get_object(Bucket=self.bucket, Key=f"deployed/{release}.json")
        return Pin(**json.loads(found["Body"].read()))

    def deployed(self) -> list[str]:
        """The releases that were deployed, the latest first."""
        found = self._client.list_objects_v2(Bucket=self.bucket, Prefix="deployed/").get("Contents", ())
        latest = sorted(found, key=lambda one: one["LastModified"], reverse=True)
        return [Path(one["Key"]).stem for one in latest]

    def keep(self, release: str, pin: Pin) -> None:
        """Remember what a release was deployed with."""
        body = json.dumps(asdict(pin)).encode()
        self._client.put_object(Bucket=self.bucket, Key=f"deployed/{release}.json", Body=body)

    def new_pin(self, release: str, templates: Mapping[str, bytes], newest_image: bool = False) -> Pin:
        """What a release is to be deployed with: the image that it had, or else the newest Amazon Linux of today."""
        before = None if newest_image else self.pin(release)
        return Pin(self._upload(templates), before.image if before else self.newest_image())

    def newest_image(self) -> str:
        """The id of the newest Amazon Linux."""
        return str(self._session.client("ssm").get_parameter(Name=IMAGE)["Parameter"]["Value"])

    def upload_release(self, archive: Path) -> None:
        """Bring a release to where instances fetch it; one that is there already stays."""
        key = f"releases/{archive.name}"
        if not self._client.list_objects_v2(Bucket=self.bucket, Prefix=key).get("KeyCount"):
            self._client.upload_file(str(archive), self.bucket, key)

    def last_words(self, name: str, since: datetime) -> str:
        """The last lines of a machine whose installation failed since then; empty without one."""
        listed = self._client.list_objects_v2(Bucket=self.bucket, Prefix=f"failures/{name}/").get("Contents", ())
        found = [one for one in listed if one["LastModified"] >= since.replace(microsecond=0)]
        if not found:
            return ""
        newest = max(found, key=lambda one: one["LastModified"])["Key"]
        body = self._client.get_object(Bucket=self.bucket, Key=newest)["Body"].read()
        lines = body.decode(errors="replace").splitlines()
        return "\n".join([f"s3://{self.bucket}/{newest} ends with:", *lines[-WORDS:]])

    def _upload(self, templates: Mapping[str, bytes]) -> str:
        """Bring templates to where CloudFormation reads them, under a hash of their content."""
        content = hashlib.sha256(b"\0".join(templates[name] for name in sorted(templates))).hexdigest()[:16]
        for name, text in templates.items():
            self._client.put_object(Bucket=self.bucket, Key=f"templates/{content}/{name}", Body=text)
        return f"https://{self.bucket}.s3.{self._session.region_name}.amazonaws.com/templates/{content}"
