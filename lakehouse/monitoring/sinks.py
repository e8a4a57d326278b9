"""Where messages about alerts go. A sink sends one message or raises NotSent; trying again is not its business."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
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


class Sink(NamedTuple):
    """A way to tell somebody; `send` raises NotSent."""

    name: str
    send: Callable[[Message], None]


def to_log(message: Message) -> None:
    """Write one line into the log of the process."""
    level = log.info if message["state"] != "firing" else log.warning
    level("alert", **{name: value for name, value in message.items() if name != "text"})


def to_webhook(url: str, message: Message, seconds: float = SEND_SECONDS) -> None:
    """Post a message to an HTTP address that takes JSON and answers with 2xx. The address may hold a secret and is
    never told to anybody.

    `Idempotency-Key` is the message's id: the same one comes again when a process died before it could note the
    answer.
    """

    async def post() -> int:
        # The client's own limits are per read: one that answers byte by byte would hold us for ever.
        async with asyncio.timeout(seconds), httpx.AsyncClient(timeout=seconds) as client:
            headers = {"Content-Type": "application/json", "Idempotency-Key": str(message["id"])}
            async with client.stream("POST", url, content=orjson.dumps(message), headers=headers) as answer:
                return answer.status_code

    where = f"The webhook at {urlsplit(url).hostname}"
    try:
        status = asyncio.run(post())
    except TimeoutError:
        raise NotSent(f"{where} did not answer within {seconds:.0f} s.") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NotSent(f"{where} cannot be reached ({type(error).__name__}).") from None
    if not 200 <= status < 300:
        raise NotSent(f"{where} answered {status}.")


def to_sns(topic: str, message: Message) -> None:
    """Publish a message in an SNS topic of AWS, with AWS's usual credentials; severity and state are attributes, so
    that subscriptions can filter by them."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    attributes = {name: {"DataType": "String", "StringValue": message[name]} for name in ("severity", "state")}
    request = {
        "TopicArn": topic,
        "Subject": f"{message['lake']}: {message['alert']} {message['state']}"[:100],
        "Message": orjson.dumps(message).decode(),
        "MessageAttributes": attributes,
    }
    if topic.endswith(".fifo"):
        request |= {"MessageGroupId": message["alert"], "MessageDeduplicationId": message["id"]}
    once = Config(connect_timeout=5, read_timeout=SEND_SECONDS, retries={"total_max_attempts": 1})
    try:
        boto3.client("sns", region_name=topic.split(":")[3], config=once).publish(**request)
    except (BotoCoreError, ClientError) as error:
        raise NotSent(f"SNS did not take the message: {error}") from None


def sinks(settings: Settings) -> list[Sink]:
    """The sinks of this lake: the log always, the others when their settings are there."""
    found = [Sink("log", to_log)]
    if (url := settings.alert_webhook_url) is not None:
        found.append(Sink("webhook", partial(to_webhook, url)))
    if (topic := settings.alert_sns_topic) is not None:
        found.append(Sink("sns", partial(to_sns, topic)))
    return found
