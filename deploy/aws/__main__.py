"""`python -m deploy.aws`: release, deploy, diff and destroy an installation on AWS."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from rich.console import Console

from deploy.aws import release as releases
from deploy.aws.installation import Installation
from deploy.aws.shelf import Pin
from deploy.aws.stacks import Event, Plan, Report
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.terminal import shown

app = typer.Typer(
    help="Release, deploy and destroy an installation on AWS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console(stderr=True, soft_wrap=True, highlight=False)
NO_CREDENTIALS = "There are no valid AWS credentials: set AWS_PROFILE, or sign in with `aws sso login`."


class Size(StrEnum):
    """The broker on the instance, MSK Serverless, or MSK brokers with private endpoints."""

    demo = "demo"
    team = "team"
    production = "production"


Name = Annotated[str, typer.Option(help="Name of the installation, and of its stacks.")]
Region = Annotated[
    str | None, typer.Option(help="AWS region; unset: AWS_REGION, else AWS_DEFAULT_REGION, else the profile's.")
]
Chosen = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", help="Parameter of templates/main.yaml, as NAME=VALUE.")
]
NewImage = Annotated[
    bool, typer.Option("--new-image", help="Take the newest Amazon Linux; without it a release keeps the one it had.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command()
def dist(
    folder: Annotated[Path, typer.Option(help="Where the archive goes.")] = Path("build/dist"),
) -> None:
    """Make the release artefact of what is committed; prints its path.

    Example: `python -m deploy.aws dist`
    """
    print(releases.build(folder))


@app.command()
def deploy(
    size: Annotated[Size | None, typer.Option(help="Needed the first time; later it stays.")] = None,
    name: Name = "shoplake",
    region: Region = None,
    parameter: Chosen = None,
    new_image: NewImage = False,
    yes: Yes = False,
) -> None:
    """Bring what is committed to AWS: make or change the stacks, then let the instance take the release.

    Example: `python -m deploy.aws deploy --size demo -p AlarmEmail=you@example.com`
    """
    given = _chosen(parameter, size)
    archive, release = releases.build(Path("build/dist")), releases.version()
    templates = releases.templates(archive)
    installation = _installation(name, region)
    given |= installation.network(given)
    if size is None and installation.release is None:
        raise UsageError(f"There is no installation {name} yet: choose its size, as in `make deploy SIZE=demo`.")
    _refuse_other_brokers(installation, size)
    with _progress("Deleting what a failed deploy left") as report:
        for stack in installation.clear(report):
            console.print(f"{stack} was left by a deploy that failed; it is made anew.")
    _carry_out(installation, installation.plan_data(templates["data.yaml"], given), yes)
    installation.protect_data()
    with console.status(f"Uploading {archive.name} …"):
        installation.shelf.upload_release(archive)
    _bring(installation, release, installation.shelf.new_pin(release, templates, new_image), given, yes)
    for label, value in sorted(installation.outputs.items()):
        print(f"{label}: {value}")


@app.command()
def diff(
    size: Annotated[Size | None, typer.Option(help="Unset: the size it has.")] = None,
    name: Name = "shoplake",
    region: Region = None,
    parameter: Chosen = None,
    new_image: NewImage = False,
) -> None:
    """Show what a deploy would change, and change nothing.

    Example: `python -m deploy.aws diff`
    """
    given = _chosen(parameter, size)
    installation = _installation(name, region)
    if installation.release is None:
        print(f"There is no installation {name}; a deploy makes everything in deploy/aws/templates.")
        return
    _refuse_other_brokers(installation, size)
    given |= installation.network(given)
    templates, release = releases.templates(releases.build(Path("build/dist"))), releases.version()
    pin = installation.shelf.new_pin(release, templates, new_image)
    plans = [installation.plan_data(templates["data.yaml"], given), installation.plan(release, pin, given)]
    found = [plan for plan in plans if plan is not None]
    for plan in found:
        _show(plan)
        installation.stacks.discard(plan)
    # Of nested stacks some are named whose own plan is empty.
    if not any(plan.changes for plan in found):
        print("A deploy would change nothing.")


@app.command()
def rollback(
    release: Annotated[str, typer.Argument(help="A version that was deployed before; unset: they are listed.")] = "",
    name: Name = "shoplake",
    region: Region = None,
    yes: Yes = False,
) -> None:
    """Go back to an earlier release, with its templates and its image; data and checkpoints stay where they are.

    Example: `python -m deploy.aws rollback 0.1.0-0123456789ab`
    """
    installation = _installation(name, region)
    if installation.release is None:
        raise UsageError(f"There is no installation {name}.")
    pin = installation.shelf.pin(release)
    if pin is None:
        deployed = ", ".join(installation.shelf.deployed())
        problem = (
            f"{release} was never deployed as {name}" if release else "Say which one, as in `make rollback RELEASE=…`"
        )
        raise UsageError(f"{problem}; these were, the latest first: {deployed}.")
    _bring(installation, release, pin, {}, yes)


@app.command()
def destroy(
    name: Name = "shoplake",
    region: Region = None,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Delete the lake and its data disk too.")] = False,
    yes: Yes = False,
) -> None:
    """Delete an installation. Its data stays unless told otherwise, and a later deploy finds it again.

    Example: `python -m deploy.aws destroy`
    """
    installation = _installation(name, region)
    data, size = installation.stacks.outputs(installation.data_stack), installation.size
    if installation.stacks.find(name) is None and not (delete_data and data):
        print(f"There is no installation {name}.")
        return
    loses = "Records in Kafka that the stream has not read are lost."
    if delete_data:
        loses = "THE LAKE, its old versions, the data disk and the secret settings are deleted too, for good."
    if not yes and not typer.confirm(f"Delete {name}? {loses}"):
        raise typer.Exit(1)
    with _progress(f"Deleting {name}") as report:
        installation.stacks.delete(name, report)
    if delete_data:
        with _progress(f"Deleting the data of {name}") as report:
            installation.delete_data(report)
        console.print("Everything is deleted.")
        return
    console.print(f"[green]{name} is deleted. Its data stays, and costs:[/]")
    for label, value in sorted(data.items()):
        print(f"{label}: {value}")
    if size == Size.demo:
        console.print("`make deploy SIZE=demo` takes it up again; `make destroy DELETE_DATA=yes` deletes it.")
    else:
        console.print(
            "The lake's files are there to be read. New brokers cannot go on with it: a new installation has another "
            "NAME. `make destroy DELETE_DATA=yes` deletes the data."
        )


def main() -> None:
    """Run the command line; an error a person can act on becomes one sentence and its exit code."""
    try:
        app()
    except ShoplakeError as error:
        _say_error(str(error), error.exit_code)
    except ClientError as error:
        _say_error(f"AWS says no: {error.response['Error'].get('Message', error)}", 1)
    except BotoCoreError as error:
        _say_error(f"AWS cannot be asked: {error}", 1)


def _say_error(sentence: str, code: int) -> None:
    console.print(f"[bold red]deploy:[/] {shown(sentence)}")
    sys.exit(code)


def _chosen(parameters: list[str] | None, size: Size | None) -> dict[str, str]:
    """`NAME=VALUE` texts and the size as a dictionary. Raises UsageError for another text."""
    pairs = [text.partition("=") for text in parameters or ()]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise UsageError(f"A parameter is written NAME=VALUE (got {name!r}); templates/main.yaml lists them.")
        if name == "Size":
            raise UsageError("The size is no parameter: --size, or `make deploy SIZE=…`.")
    return {**{name: value for name, _, value in pairs}, **({"Size": str(size)} if size else {})}


def _refuse_other_brokers(installation: Installation, size: Size | None) -> None:
    """Raises UsageError for a size whose brokers lack the offsets in the lake's book."""
    had, name = installation.size, installation.name
    if size is not None and had not in (None, size):
        raise UsageError(
            f"{name} has the size {had}, and {size} has brokers of another kind, whose offsets are not those in the "
            "lake: take another NAME for the new size."
        )
    if installation.release is None and had not in (None, Size.demo) and installation.has_been_read_into():
        raise UsageError(
            f"The lake that {name} kept was filled from brokers that are gone, and its stream would refuse new ones: "
            "take another NAME, or delete it first (`make destroy DELETE_DATA=yes`)."
        )


def _installation(name: str, region: str | None) -> Installation:
    """Raises UsageError without credentials or a region."""
    try:
        # The `aws` command reads AWS_REGION first, and boto3 does not read it at all.
        session = boto3.Session(region_name=region or os.environ.get("AWS_REGION") or None)
        if session.get_credentials() is None:
            raise UsageError(NO_CREDENTIALS)
        if session.region_name is None:
            raise UsageError("There is no AWS region: set AWS_REGION, or say `make deploy REGION=eu-central-1`.")
        account = session.client("sts").get_caller_identity()["Account"]
    except (ConnectionError, HTTPClientError):
        raise  # not the credentials' fault
    except (BotoCoreError, ClientError) as error:
        raise UsageError(f"{NO_CREDENTIALS} (AWS: {error})") from None
    profile = f", profile {session.profile_name}" if session.profile_name != "default" else ""
    console.print(f"Account {account}, region {session.region_name}{profile}.")
    return Installation(name, session)


def _carry_out(installation: Installation, plan: Plan | None, yes: bool) -> None:
    if plan is None:
        return
    _show(plan)
    if (question := _question(plan)) and not yes and not typer.confirm(question):
        installation.stacks.discard(plan)
        raise typer.Exit(1)
    began = datetime.now(UTC)
    try:
        with _progress(f"{'Making' if plan.is_new else 'Changing'} {plan.stack}") as report:
            installation.stacks.execute(plan, report)
    except ShoplakeError as error:
        words = installation.last_words(began)
        raise ShoplakeError(f"{error}\n{words}" if words else str(error)) from None


def _question(plan: Plan) -> str:
    """What a person is asked before a change; empty when it disturbs nothing."""
    if plan.is_new:
        return ""
    replaced = [change for change in plan.changes if change.action == "Remove" or change.replacement == "True"]
    if replaced:
        return f"{len(replaced)} are replaced or removed. Go on?"
    changed = {change.resource for change in plan.changes}
    away = "replaced: the platform is away until the new one is well, with the same data disk. Go on?"
    if "Compute/Template" in changed:
        return f"The instance is {away}"
    return f"The instance may be {away}" if "Compute" in changed else ""


def _bring(installation: Installation, release: str, pin: Pin, given: dict[str, str], yes: bool) -> None:
    """Change the stacks to a release, then let the instance take it unless it was replaced."""
    before, machine = installation.release, installation.instance()
    broke_off = installation.shelf.pin(release) is None
    _carry_out(installation, installation.plan(release, pin, given), yes)
    if before and (before != release or broke_off) and installation.instance() == machine:
        _install(installation, release, before)
    installation.shelf.keep(release, pin)
    console.print(f"[green]{installation.name} runs {release}.[/]")


def _install(installation: Installation, release: str, before: str | None) -> None:
    """Raises ShoplakeError when the instance did not take it; new instances then get the earlier one."""
    try:
        with console.status(f"The instance takes {release} …"):
            last = installation.install_release(release)
        console.print(shown(last))
    except ShoplakeError:
        pin = installation.shelf.pin(before) if before else None
        if before and pin and (plan := installation.plan(before, pin, {})):
            installation.stacks.execute(plan, lambda _event: None)
        raise


def _show(plan: Plan) -> None:
    """What a plan does: a line per resource, or their number for a new stack."""
    if plan.is_new:
        print(f"{plan.stack}: {len(plan.changes)} resources are made")
        return
    for change in plan.changes:
        note = {"True": "  REPLACED", "Conditional": "  perhaps replaced"}.get(change.replacement, "")
        print(f"{change.action:<7} {plan.stack}/{change.resource}  {change.type}{note}")


@contextmanager
def _progress(text: str) -> Iterator[Report]:
    """A line per finished resource, and on a terminal the one that is waited for."""
    console.print(f"{text} …")
    with console.status(text) as now:

        def report(event: Event) -> None:
            if event.status.endswith("_IN_PROGRESS"):
                now.update(f"{text}: {shown(event.path)}")
            else:
                console.print(f"  {event.status} {event.path}  {shown(event.reason)}".rstrip())

        yield report


if __name__ == "__main__":
    main()
