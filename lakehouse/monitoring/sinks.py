"""Where messages about alerts go. A sink sends one message or raises NotSent; trying again is not its business."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import orjson
import structlog

from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings

SEND_SECONDS = 10.0
"""So long may one attempt take, whatever the other side does with its time."""
Message = dict[str, Any]
log = structlog.get_logger()


class NotSent(ShoplakeError):
    """The message did not arrive, as far as anybody can tell."""


class Sink(Protocol):
    """A way to tell somebody."""

    name: str

    def send(self, message: Message) -> None:
        """Send one message. Raises NotSent."""


class LogSink:
    """The log of the process."""

    name = "log"

    def send(self, message: Message) -> None:
        """Write one line."""
        level = log.info if message["state"] != "firing" else log.warning
        level("alert", **{name: value for name, value in message.items() if name != "text"})


class WebhookSink:
    """An HTTP address that takes a POST of JSON and answers with 2xx.

    `Idempotency-Key` is the message's id: the same one comes again when a process died before it could note the
    answer.
    """

    name = "webhook"

    def __init__(self, url: str, seconds: float = SEND_SECONDS) -> None:
        """The address may hold a secret and is never told to anybody."""
        self._url, self._seconds = url, seconds

    def send(self, message: Message) -> None:
        """Post one message."""
        try:
            status = asyncio.run(self._post(message))
        except TimeoutError:
            raise NotSent(f"{self._where()} did not answer within {self._seconds:.0f} s.") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NotSent(f"{self._where()} cannot be reached ({type(error).__name__}).") from None
        if not 200 <= status < 300:
            raise NotSent(f"{self._where()} answered {status}.")

    async def _post(self, message: Message) -> int:
        # The client's own limits are per read: one that answers byte by byte would hold us for ever.
        async with asyncio.timeout(self._seconds), httpx.AsyncClient(timeout=self._seconds) as client:
            headers = {"Content-Type": "application/json", "Idempotency-Key": str(message["id"])}
            async with client.stream("POST", self._url, content=orjson.dumps(message), headers=headers) as answer:
                return answer.status_code

    def _where(self) -> str:
        return f"The webhook at {urlsplit(self._url).hostname}"


class SnsSink:
    """An SNS topic of AWS; severity and state are attributes, so that subscriptions can filter by them."""

    name = "sns"

    def __init__(self, topic: str, client: Any | None = None) -> None:
        """Without a `client` one is made for the topic's region with AWS's usual credentials."""
        self._topic, self._client = topic, client

    def send(self, message: Message) -> None:
        """Publish one message."""
        from botocore.exceptions import BotoCoreError, ClientError

        attributes = {name: {"DataType": "String", "StringValue": message[name]} for name in ("severity", "state")}
        request = {
            "TopicArn": self._topic,
            "Subject": f"{message['lake']}: {message['alert']} {message['state']}"[:100],
            "Message": orjson.dumps(message).decode(),
            "MessageAttributes": attributes,
        }
        if self._topic.endswith(".fifo"):
            request |= {"MessageGroupId": message["alert"], "MessageDeduplicationId": message["id"]}
        try:
            self._client = self._client or _sns_client(self._topic)
            self._client.publish(**request)
        except (BotoCoreError, ClientError) as error:
            raise NotSent(f"SNS did not take the message: {error}") from None


def _sns_client(topic: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=5, read_timeout=SEND_SECONDS, retries={"total_max_attempts": 1})
    return boto3.client("sns", region_name=topic.split(":")[3], config=config)


def sinks(settings: Settings) -> list[Sink]:
    """The sinks of this lake: the log always, the others when their settings are there."""
    found: list[Sink] = [LogSink()]
    if settings.alert_webhook_url:
        found.append(WebhookSink(settings.alert_webhook_url))
    if settings.alert_sns_topic:
        found.append(SnsSink(settings.alert_sns_topic))
    return found
