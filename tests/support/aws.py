"""What moto's CloudFormation lacks of the resources that the templates make: they exist there with an address."""

from collections.abc import Mapping
from typing import Any

from moto.cloudformation.responses import CloudFormationResponse
from moto.core.common_models import CloudFormationModel
from moto.core.responses import ActionResult

from lakehouse.settings import Settings, load_settings

REGION = "eu-central-1"


class _StandIn(CloudFormationModel):
    def __init__(self, name: str, arn: str) -> None:
        self.name, self.arn = name, arn

    @property
    def physical_resource_id(self) -> str:
        return self.arn

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    def get_cfn_attribute(self, attribute: str) -> Any:
        return 1 if attribute.endswith("Revision") else self.arn

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> Any:
        service = cls.cloudformation_type().split("::")[1].lower()
        return cls(resource_name, f"arn:aws:{service}:{region_name}:{account_id}:cluster/{resource_name}/id")

    @classmethod
    def update_from_cloudformation_json(cls, original_resource: Any, *_: Any, **__: Any) -> Any:
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(cls, *_: Any, **__: Any) -> None:
        return


def stand_in(kind: str) -> type[CloudFormationModel]:
    return type(kind.replace("::", ""), (_StandIn,), {"cloudformation_type": staticmethod(lambda: kind)})


KINDS = (
    "AWS::SecretsManager::Secret",
    "AWS::MSK::ServerlessCluster",
    "AWS::MSK::Cluster",
    "AWS::MSK::Configuration",
    "AWS::CloudWatch::Alarm",
    "AWS::SNS::TopicPolicy",
    "AWS::SNS::Subscription",
    "AWS::Budgets::Budget",
    "AWS::S3::BucketPolicy",
    "AWS::AutoScaling::ScalingPolicy",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::Athena::WorkGroup",
    "AWS::Athena::NamedQuery",
    "AWS::EC2::SecurityGroupEgress",
)
MODELS = [stand_in(kind) for kind in KINDS]


def settings_of(facts: Mapping[str, str]) -> Settings:
    """What the platform makes of the facts of a machine; those that only the bootstrap and the start read are left."""
    given = {name.removeprefix("SHOPLAKE_").lower(): value for name, value in facts.items()}
    return load_settings(_env_file=None, **{name: given[name] for name in given if name in Settings.model_fields})


def complete_moto() -> None:
    """Once per process: the missing resources, the missing action, and outputs after a change set."""
    from moto.cloudformation import models, parsing, responses, utils
    from moto.cloudformation.models import CloudFormationBackend, Stack
    from moto.ec2.models.elastic_block_store import Volume
    from moto.emr.models import Cluster

    parsing.get_model_map().update(dict(zip(KINDS, MODELS, strict=True)))
    CloudFormationResponse.update_termination_protection = lambda self: ActionResult(
        {"StackId": self._get_param("StackName")}
    )
    # AWS makes a change set without changes, and says so in its status; moto would refuse to make it.
    CloudFormationResponse._validate_different_update = lambda *_: None
    if getattr(CloudFormationBackend, "is_complete", False):
        return
    execute = CloudFormationBackend.execute_change_set

    def with_outputs(self: Any, change_set_name: str, stack_name: str | None = None) -> None:
        execute(self, change_set_name, stack_name)
        stack = self.stacks[self.change_sets[change_set_name].stack_id]
        stack._parse_template()
        stack.output_map = stack._create_output_map()

    def nested_output(self: Stack, attribute: str) -> str:
        return str(self.output_map[attribute.removeprefix("Outputs.")].value)

    def nested_update(
        _cls: Any, original_resource: Any, new_resource_name: str, cloudformation_json: Any, **_: Any
    ) -> Any:
        if original_resource is None:  # its condition does not hold; moto updates it all the same
            return _StandIn(new_resource_name, "absent")
        original_resource.parameters = cloudformation_json["Properties"].get("Parameters", {})
        return original_resource  # moto would delete it and make another

    def tag(loader: Any, name: str, node: Any) -> Any:
        found = utils.yaml_tag_constructor(loader, name, node)
        if name == "!GetAtt" and isinstance(node.value, str):
            return {"Fn::GetAtt": node.value.split(".", 1)}  # moto splits at each dot
        return {"Condition": node.value} if name == "!Condition" else found

    # A cluster's address is an attribute that moto's clusters lack.
    Cluster.get_cfn_attribute = lambda self, name: "ip-10-40-2-30.internal" if name == "MasterPublicDNS" else self.id
    Cluster.has_cfn_attr = classmethod(lambda _cls, name: name in ("MasterPublicDNS", "Id"))

    # A volume that no change set can change would be lost with the first one.
    Volume.update_from_cloudformation_json = classmethod(
        lambda _cls, original_resource, new_resource_name, **_: (
            original_resource or _StandIn(new_resource_name, "absent")
        )
    )

    delete = parsing.ResourceMap.delete

    def keeping(self: Any) -> None:
        """What is retained but when its creation fails; moto knows only what is always retained."""
        for value in self._resource_json_map.values():
            if value.get("DeletionPolicy") == "RetainExceptOnCreate":
                value["DeletionPolicy"] = "Retain"
        delete(self)

    parsing.ResourceMap.delete = keeping
    clean = parsing.clean_json

    def without_no_value(resource_json: Any, resources_map: Any) -> Any:
        found = clean(resource_json, resources_map)
        if isinstance(resource_json, list) and isinstance(found, list):
            return [one for one in found if one is not None]  # AWS::NoValue in a list
        return found

    parsing.clean_json = without_no_value
    models.yaml_tag_constructor = responses.yaml_tag_constructor = tag
    Stack.get_cfn_attribute = nested_output
    Stack.update_from_cloudformation_json = classmethod(nested_update)
    CloudFormationBackend.execute_change_set = with_outputs
    CloudFormationBackend.is_complete = True
