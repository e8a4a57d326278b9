"""The secret of a lake, by which its servers on this machine tell the lake's own processes from strangers.

One file that only its owner may read. What each server asks for is derived from it: who learns one of these (a Spark
session shows the keys of S3) knows neither the secret nor the others.
"""

import hmac
import secrets
from contextlib import suppress
from pathlib import Path

from lakehouse.errors import UsageError
from lakehouse.settings import Settings

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


def secret_for(settings: Settings, purpose: str) -> str:
    """What a server of this lake wants to see; always the same 64 letters for the same purpose."""
    return hmac.digest(_secret(settings), purpose.encode(), "sha256").hex()


def s3_keys(settings: Settings) -> tuple[str, str]:
    """Access key and secret key of the embedded S3 server."""
    return "shoplake", secret_for(settings, "s3")


def spark_token(settings: Settings) -> str:
    """The token of the embedded Spark Connect server."""
    return secret_for(settings, "spark-connect")


def local_remote(settings: Settings) -> str:
    """Address of Spark Connect for any client on this machine: pyspark shows a token without TLS to `localhost` only.

    Where an external server is used, its address as it was set.
    """
    if not settings.spark_is_embedded:
        return settings.remote
    return f"sc://localhost:{settings.spark_port}/;token={spark_token(settings)}"


def credentials_of(settings: Settings) -> str:
    """Lines for a shell, by which boto3, delta-rs, pyspark and others find what the embedded servers want to see."""
    values: dict[str, str] = {}
    if settings.s3_is_embedded:
        values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"] = s3_keys(settings)
    if settings.spark_is_embedded:
        values["SPARK_CONNECT_AUTHENTICATE_TOKEN"] = spark_token(settings)
    return "\n".join(f"export {name}={value}" for name, value in values.items())


def keep_private(settings: Settings) -> None:
    """Make the lake's folder, and let nobody else into it. Raises UsageError when that cannot be, as in another's."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        settings.data_dir.chmod(PRIVATE_FOLDER)
    except OSError as error:
        raise UsageError(
            f"The folder {settings.data_dir} cannot be made yours alone ({error.strerror}): set SHOPLAKE_DATA_DIR to"
            " one of your own."
        ) from None


def _secret(settings: Settings) -> bytes:
    file = settings.data_dir / "lake.secret"
    try:
        return file.read_bytes()
    except FileNotFoundError:
        keep_private(settings)
        _make(file)
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"The secret of the lake cannot be read: {error}.") from None


def _make(file: Path) -> None:
    """Of several processes that make it at once, the first one's stays; nobody sees half of it."""
    aside = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    aside.touch(PRIVATE_FILE)
    aside.write_text(secrets.token_hex(32))
    with suppress(FileExistsError):
        file.hardlink_to(aside)
    aside.unlink()
