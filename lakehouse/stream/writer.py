"""Who writes the lake: a claim in its bucket, so that two streams never write at once.

A killed client leaves its query behind in the Spark server, and nothing on this machine knows of a stream on another
one. So a stream claims the lake before it reads where to continue: it ends what an earlier one of the same data folder
left, and refuses to start beside a live one of another. Every micro-batch checks that the claim is still its own.
"""

import json
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from lakehouse import s3
from lakehouse.errors import ShoplakeError
from lakehouse.session import end_session
from lakehouse.settings import Settings

KEY = "_shoplake/writer.json"
RENEW_SECONDS = 30.0
WATCH_SECONDS = 2.0
NOBODY = "nobody"
FRESH_SECONDS = 120.0
"""A claim expires when it has not been renewed for so long."""


class TakenOver(ShoplakeError):
    """Another stream has the lake now."""


@dataclass(frozen=True)
class Claim:
    """One life of a stream: whose it is (machine and data folder), and its session with the Spark server."""

    token: str
    owner: str
    session_id: str


class Writer:
    """The right to write the lake; `take` it before reading where the lake ends."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        self._settings, self._client = settings, s3.s3_client(settings)
        self._claim: Claim | None = None
        self._renewed = 0.0
        self.took_over = False
        """True if a stream wrote the lake before, some of whose commits may still be under way."""

    def take(self, session_id: str) -> str:
        """Claim the lake for the stream with this Spark session; the claim's token.

        If another machine or data folder holds the claim, wait until the claim is renewed or expires. Raises
        ShoplakeError if it is renewed: that stream is alive.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        owner = f"{socket.gethostname()}:{self._settings.data_dir}"
        try:
            found = self._let_go_by_others(owner)
        except (BotoCoreError, ClientError) as error:
            raise ShoplakeError(f"S3 does not say who writes the lake ({error}).") from error
        self._claim, self._renewed = Claim(uuid.uuid4().hex, owner, session_id), 0.0
        self._write(self._claim)
        self.took_over = found is not None
        if found is not None:
            end_session(self._settings, found.session_id)
        return self._claim.token

    def _let_go_by_others(self, owner: str) -> Claim | None:
        """Wait until no other live stream holds the claim; return the one found (ours, given up, expired, or None)."""
        found, age = _read(self._client, self._settings.bucket)
        before = age
        while found is not None and found.owner not in (owner, NOBODY) and age < FRESH_SECONDS:
            if age < before:
                raise ShoplakeError(
                    f"The lake in the bucket {self._settings.bucket} is written by the stream of {found.owner}; two"
                    " would double its records. Stop that one."
                )
            before = age
            time.sleep(WATCH_SECONDS)
            found, age = _read(self._client, self._settings.bucket)
        return found

    def renew(self) -> None:
        """Renew the claim if it is due. Raises TakenOver if another stream has the lake."""
        if self._claim is None or time.monotonic() - self._renewed < RENEW_SECONDS:
            return
        require(self._client, self._settings.bucket, self._claim.token)
        self._write(self._claim)

    def give_up(self) -> None:
        """Give up the claim, unless another stream has it already. The claim still names the session, so that the next
        stream can end it: the stopped query may still be writing."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found, _ = _read(self._client, self._settings.bucket)
            if self._claim is not None and found == self._claim:
                self._write(Claim(uuid.uuid4().hex, NOBODY, self._claim.session_id))
        except (BotoCoreError, ClientError):
            pass  # the claim expires

    def _write(self, claim: Claim) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        body = json.dumps(asdict(claim)).encode()
        try:
            self._client.put_object(Bucket=self._settings.bucket, Key=KEY, Body=body)
        except (BotoCoreError, ClientError) as error:
            if not self._renewed:
                raise ShoplakeError(f"The lake cannot be claimed ({error}).") from error
        self._renewed = time.monotonic()


def require(client: Any, bucket: str, token: str) -> None:
    """Raise TakenOver if another stream holds the claim. If S3 cannot be reached, no write can be made either."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found, _ = _read(client, bucket)
    except (BotoCoreError, ClientError):
        return
    if found is None or found.token != token:
        owner = found.owner if found else "nobody"
        raise TakenOver(f"This stream may write no more: the lake in the bucket {bucket} is claimed by {owner}.")


def _read(client: Any, bucket: str) -> tuple[Claim | None, float]:
    """The claim and the seconds since it was renewed, both by the server's clock; None when there is none."""
    from botocore.exceptions import ClientError

    try:
        answer = client.get_object(Bucket=bucket, Key=KEY)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None, 0.0
        raise
    sent = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    now = parsedate_to_datetime(sent) if sent else datetime.now(UTC)
    age = (now - answer["LastModified"]).total_seconds()
    try:
        return Claim(**json.loads(answer["Body"].read())), age
    except (TypeError, ValueError):
        return None, age
