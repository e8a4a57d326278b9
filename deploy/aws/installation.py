"""One installation: its two stacks (data, and the rest, which comes and goes), its releases, its instance."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from deploy.aws import release as releases
from deploy.aws import zones
from deploy.aws.shelf import Pin, Shelf
from deploy.aws.stacks import POLL_SECONDS, Plan, Report, Stacks
from lakehouse.errors import ShoplakeError, UsageError

BOOTSTRAP = "/opt/shoplake/current/deploy/aws/bootstrap.sh"
COMMAND_SECONDS = 2400
ONLY_DATA = ("BronzeStorage", "DiskGiB")
"""Parameters of data.yaml that main.yaml has no use for."""


class Installation:
    """The installation `name`; `session` is boto3's, with credentials and a region."""

    def __init__(self, name: str, session: Any, poll_seconds: float = POLL_SECONDS) -> None:
        self.name, self.data_stack = name, f"{name}-data"
        self._session, self._poll_seconds = session, poll_seconds
        self.stacks = Stacks(session.client("cloudformation"), poll_seconds)

    @property
    def outputs(self) -> dict[str, str]:
        """Addresses of what was deployed."""
        return self.stacks.outputs(self.name)

    @property
    def release(self) -> str | None:
        """The deployed release; None, too, after a failed first deploy."""
        return None if self.stacks.is_left_over(self.name) else self.stacks.parameters(self.name).get("Release")

    @property
    def size(self) -> str | None:
        """The size that it has, or that its kept data had."""
        for stack in (self.name, self.data_stack):
            if not self.stacks.is_left_over(stack) and (found := self.stacks.parameters(stack).get("Size")):
                return found
        return None

    def has_been_read_into(self) -> bool:
        """Whether the kept lake has records, and with them offsets of its brokers."""
        bucket = self.stacks.outputs(self.data_stack).get("LakeBucket")
        if bucket is None:
            return False
        found = self._session.client("s3").list_objects_v2(
            Bucket=bucket, Prefix="bronze/events/ingest_date=", MaxKeys=1
        )
        return bool(found.get("KeyCount"))

    def clear(self, report: Report) -> list[str]:
        """Delete the stacks that a failed deploy, or a failed deletion, left behind; their names. Data stays."""
        found = [stack for stack in (self.name, self.data_stack) if self.stacks.is_left_over(stack)]
        for stack in found:
            self.stacks.delete(stack, report)
        return found

    @property
    def shelf(self) -> Shelf:
        """The bucket of the releases; the data's stack must be there."""
        return Shelf(self._session, self.stacks.outputs(self.data_stack)["ReleasesBucket"])

    def network(self, given: Mapping[str, str]) -> dict[str, str]:
        """Parameters that follow from a network that a person has; none where a network is made."""
        subnets = given.get("PrivateSubnets")
        return zones.network(self._session, subnets) if subnets else {}

    def plan_data(self, template: bytes, given: Mapping[str, str]) -> Plan | None:
        """What would change in what stays; `given` are parameters a person chose, of which it takes its own.

        Raises UsageError for zones other than those it has, where its disk and the network are, and for another key.
        """
        had = self.stacks.parameters(self.data_stack)
        wanted = given.get("Zones") or had.get("Zones") or ",".join(zones.offering(self._session))
        if had.get("Zones") not in (None, wanted):
            raise UsageError(
                f"{self.name} is in the zones {had['Zones']}, and stays there: take another NAME for {wanted}."
            )
        key = had.get("KmsKeyArn", "")
        if had and given.get("KmsKeyArn", key) != key:
            raise UsageError(f"{self.name} keeps its key ({key or 'keys of AWS'}): take another NAME for another one.")
        own = {name: value for name, value in given.items() if name in ("Size", "Zone", "KmsKeyArn", *ONLY_DATA)}
        body = {"TemplateBody": template.decode()}
        return self.stacks.plan(self.data_stack, body, own, {"Zones": wanted})

    def protect_data(self) -> None:
        """Nobody deletes the data's stack by mistake."""
        client = self._session.client("cloudformation")
        client.update_termination_protection(StackName=self.data_stack, EnableTerminationProtection=True)

    def plan(self, release: str, pin: Pin, given: Mapping[str, str]) -> Plan | None:
        """What would change in the rest; the data's stack must be there. `given` are parameters a person chose."""
        filled = {"Release": release, "TemplatesUrl": pin.templates, "Image": pin.image}
        filled |= self.stacks.outputs(self.data_stack)
        own = {name: value for name, value in given.items() if name not in ONLY_DATA}
        return self.stacks.plan(self.name, {"TemplateURL": f"{pin.templates}/main.yaml"}, own, filled)

    def instance(self) -> str | None:
        """The id of the instance that is in service."""
        group = self.outputs.get("Group")
        if not group:
            return None
        found = self._session.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        machines = [machine for one in found["AutoScalingGroups"] for machine in one["Instances"]]
        return next((str(one["InstanceId"]) for one in machines if one["LifecycleState"] == "InService"), None)

    def install_release(self, release: str) -> str:
        """Let the running instance take a release; what it said last. It goes back by itself when it does not come up.

        Raises ShoplakeError with the instance's last words.
        """
        machine = self.instance()
        if machine is None:
            raise ShoplakeError(f"{self.name} has no instance in service; a new one will take {release} by itself.")
        line = f"bash {BOOTSTRAP} install s3://{self.shelf.bucket}/releases/{releases.archive_name(release)} 2>&1"
        client = self._session.client("ssm")
        sent = client.send_command(
            InstanceIds=[machine],
            DocumentName="AWS-RunShellScript",
            Comment=f"Shoplake {release}",
            Parameters={"commands": [line], "executionTimeout": [str(COMMAND_SECONDS)]},
        )
        command = {"CommandId": sent["Command"]["CommandId"], "InstanceId": machine}
        patience = {"Delay": self._poll_seconds, "MaxAttempts": int(COMMAND_SECONDS / POLL_SECONDS)}
        with suppress(WaiterError):  # its status says what became of it
            client.get_waiter("command_executed").wait(**command, WaiterConfig=patience)
        found = client.get_command_invocation(**command)
        last = (found["StandardOutputContent"].strip().splitlines() or ["it said nothing"])[-1]
        if found["Status"] != "Success":
            raise ShoplakeError(f"{machine} did not take {release} ({found['Status']}): {last}")
        return str(last)

    def last_words(self, since: datetime) -> str:
        """The last lines of a machine whose installation failed since then; empty without one."""
        bucket = self.stacks.outputs(self.data_stack).get("ReleasesBucket")
        return Shelf(self._session, bucket).last_words(self.name, since) if bucket else ""

    def delete_data(self, report: Report) -> None:
        """Delete the lake, the releases, the data disk and the secret settings, for good.

        The stack that names them goes last: a deletion that broke off is taken up by the next one.
        """
        data = self.stacks.outputs(self.data_stack)
        client = self._session.client("cloudformation")
        client.update_termination_protection(StackName=self.data_stack, EnableTerminationProtection=False)
        for name in ("LakeBucket", "ReleasesBucket"):
            bucket = self._session.resource("s3").Bucket(data[name])
            with _already_gone("NoSuchBucket"):
                bucket.object_versions.delete()
                bucket.delete()
        with _already_gone("InvalidVolume.NotFound"):
            self._session.client("ec2").delete_volume(VolumeId=data["DataDisk"])
        with _already_gone("ResourceNotFoundException"):
            self._session.client("secretsmanager").delete_secret(
                SecretId=data["SecretSettings"], ForceDeleteWithoutRecovery=True
            )
        self.stacks.delete(self.data_stack, report)


@contextmanager
def _already_gone(code: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise
