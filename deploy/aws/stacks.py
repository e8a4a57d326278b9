"""CloudFormation stacks: what a deploy would change, doing it with progress, and the first failure in words."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from lakehouse.errors import ShoplakeError

POLL_SECONDS = 5.0
NESTED = "AWS::CloudFormation::Stack"
_LEFT_OVER = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
_CANCELLED = ("cancelled", "following resource(s) failed")
_CLOCKS_DIFFER = timedelta(minutes=2)


class Change(NamedTuple):
    """A resource that a change set touches. `replacement` is CloudFormation's: True, False or Conditional."""

    action: str
    resource: str
    type: str
    replacement: str


class Plan(NamedTuple):
    """A change set that was made and not executed."""

    stack: str
    change_set: str
    is_new: bool
    changes: tuple[Change, ...]


class Event(NamedTuple):
    """What became of one resource. `path` names its stacks too."""

    id: str
    at: datetime
    path: str
    type: str
    status: str
    reason: str


Report = Callable[[Event], None]


class Stacks:
    """The stacks of one account and region. `client` is boto3's for CloudFormation."""

    def __init__(self, client: Any, poll_seconds: float) -> None:
        self._client, self._poll_seconds = client, poll_seconds

    def find(self, name: str) -> dict[str, Any] | None:
        """CloudFormation's description of a stack; None when there is none."""
        try:
            return dict(self._client.describe_stacks(StackName=name)["Stacks"][0])
        except ClientError as error:
            if error.response["Error"]["Code"] in ("ValidationError", "404") and "exist" in str(error):
                return None
            raise

    def is_left_over(self, name: str) -> bool:
        """Whether a failed first deploy or deletion left the stack: nothing can change it."""
        return ((self.find(name) or {}).get("StackStatus")) in _LEFT_OVER

    def outputs(self, name: str) -> dict[str, str]:
        """The outputs of a stack; empty when there is none."""
        found = self.find(name) or {}
        return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}

    def parameters(self, name: str) -> dict[str, str]:
        """The parameters that a stack has now; empty when there is none."""
        found = self.find(name) or {}
        return {one["ParameterKey"]: one.get("ParameterValue", "") for one in found.get("Parameters", [])}

    def plan(
        self, name: str, template: Mapping[str, str], given: Mapping[str, str], filled: Mapping[str, str]
    ) -> Plan | None:
        """A change set for a stack that is there or not; None when there is nothing to change.

        `template` is {"TemplateBody": …} or {"TemplateURL": …}. Other parameters keep their value. An older template
        may not know all that is `filled` in; it must know what a person has `given`.
        The plan of an existing stack looks into nested ones where CloudFormation can: not where one needs an output of
        another that changes too.
        """
        found = self.find(name)
        is_new = found is None or found["StackStatus"] == "REVIEW_IN_PROGRESS"
        declared = {one["ParameterKey"] for one in self._client.get_template_summary(**template)["Parameters"]}
        values = {**given, **{key: value for key, value in filled.items() if key in declared}}
        kept = set() if is_new else declared & set(self.parameters(name)) - set(values)
        wanted = {
            "StackName": name,
            "ChangeSetType": "CREATE" if is_new else "UPDATE",
            "Parameters": [
                *({"ParameterKey": key, "ParameterValue": value} for key, value in sorted(values.items())),
                *({"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept)),
            ],
            "Capabilities": ["CAPABILITY_IAM"],
            "Tags": [{"Key": "shoplake", "Value": name}],
            **template,
        }
        if not is_new:
            try:
                return self._planned(name, is_new, {**wanted, "IncludeNestedStacks": True})
            except ShoplakeError:
                pass
        return self._planned(name, is_new, wanted)

    def _planned(self, name: str, is_new: bool, wanted: Mapping[str, Any]) -> Plan | None:
        made = self._client.create_change_set(ChangeSetName=f"shoplake-{uuid.uuid4().hex[:12]}", **wanted)
        plan = Plan(name, made["Id"], is_new, ())
        if self._has_changes(plan):
            return plan._replace(changes=tuple(self._changes(plan.change_set)))
        self.discard(plan)
        return None

    def discard(self, plan: Plan) -> None:
        """Forget a plan, and the empty shell of a stack that it made."""
        if plan.is_new:
            self._client.delete_stack(StackName=plan.stack)
        else:
            self._client.delete_change_set(ChangeSetName=plan.change_set)

    def execute(self, plan: Plan, report: Report) -> None:
        """Carry out a plan and wait; `report` hears what becomes of each resource.

        Raises ShoplakeError with the first resource that failed, and why.
        """
        began = datetime.now(UTC)
        self._client.execute_change_set(ChangeSetName=plan.change_set)
        status = self._follow(plan.stack, began, report)
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise ShoplakeError(self._failure(plan.stack, began, status))

    def delete(self, name: str, report: Report) -> None:
        """Delete a stack and wait. Raises ShoplakeError with the first resource that could not be deleted."""
        found = self.find(name)
        if found is None:
            return
        began = datetime.now(UTC)
        self._client.delete_stack(StackName=name)
        # A deleted stack is found by its id only.
        status = self._follow(found["StackId"], began, report)
        if status != "DELETE_COMPLETE":
            raise ShoplakeError(self._failure(found["StackId"], began, status))

    def _has_changes(self, plan: Plan) -> bool:
        """Wait until a change set is made. Raises ShoplakeError for a template that is not accepted."""
        while True:
            described = self._client.describe_change_set(ChangeSetName=plan.change_set, StackName=plan.stack)
            status, reason = described["Status"], described.get("StatusReason") or ""
            if status == "CREATE_COMPLETE":
                return True
            if status == "FAILED":
                if "didn't contain changes" in reason or "No updates" in reason or "NO_CHANGES" in reason:
                    return False
                self.discard(plan)
                raise ShoplakeError(f"CloudFormation does not accept the template of {plan.stack}: {reason}")
            time.sleep(self._poll_seconds)

    def _changes(self, change_set: str, path: str = "") -> Iterator[Change]:
        """What a change set touches, and those that are nested in it."""
        pages = self._client.get_paginator("describe_change_set").paginate(ChangeSetName=change_set)
        for found in pages.search("Changes[].ResourceChange"):
            name = f"{path}{found['LogicalResourceId']}"
            if nested := found.get("ChangeSetId"):
                yield from self._changes(nested, f"{name}/")
            else:
                yield Change(found["Action"], name, found["ResourceType"], found.get("Replacement") or "False")

    def _follow(self, stack: str, began: datetime, report: Report) -> str:
        """Report the events until the stack has come to rest; its last status."""
        seen: set[str] = set()
        while True:
            found = self.find(stack)
            status = str(found["StackStatus"]) if found else "DELETE_COMPLETE"
            for event in sorted(self._events(stack, began), key=lambda event: event.at):
                if event.id not in seen:
                    seen.add(event.id)
                    report(event)
            if not status.endswith("_IN_PROGRESS"):
                return status
            time.sleep(self._poll_seconds)

    def _events(self, stack: str, began: datetime, path: str = "") -> Iterator[Event]:
        """Events of a stack and of those nested in it since `began`, newest first within a stack; what a nested stack
        says of itself its outer one says, too."""
        nested: dict[str, str] = {}
        for one in self._recent(stack, began):
            name, kind, own = one["LogicalResourceId"], one["ResourceType"], one.get("PhysicalResourceId") or ""
            is_itself = own == one["StackId"]
            if is_itself and path:
                continue
            if kind == NESTED and own and not is_itself:
                nested[own] = name
            reason = one.get("ResourceStatusReason") or ""
            yield Event(one["EventId"], one["Timestamp"], f"{path}{name}", kind, one["ResourceStatus"], reason)
        for inner, name in nested.items():
            yield from self._events(inner, began, f"{path}{name}/")

    def _recent(self, stack: str, began: datetime) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack)
        try:
            yield from takewhile(lambda one: one["Timestamp"] >= began - _CLOCKS_DIFFER, pages.search("StackEvents"))
        except ClientError as error:
            if "exist" not in str(error):
                raise

    def _failure(self, stack: str, began: datetime, status: str) -> str:
        failed = [
            event
            for event in self._events(stack, began)
            if event.status.endswith("_FAILED") and not any(word in event.reason.lower() for word in _CANCELLED)
        ]
        # A nested stack fails because something in it does.
        causes = [event for event in failed if event.type != NESTED] or failed
        name = stack.split("/")[1] if stack.startswith("arn:") else stack
        if not causes:
            return f"The stack {name} ended as {status}; CloudFormation gives no reason."
        first = min(causes, key=lambda event: event.at)
        went_back = " Everything else was taken back." if "ROLLBACK_COMPLETE" in status else ""
        return f"{name}: {first.path} ({first.type}) failed first: {first.reason or first.status}.{went_back}"
