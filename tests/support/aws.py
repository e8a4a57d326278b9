"""What moto's CloudFormation lacks of the resources that the templates make: they exist there with an address."""

from __future__ import annotations

from typing import Any

from moto.cloudformation.responses import CloudFormationResponse
from moto.core.common_models import CloudFormationModel
from moto.core.responses import ActionResult


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


KINDS = ("AWS::SecretsManager::Secret", "AWS::MSK::ServerlessCluster", "AWS::MSK::Cluster", "AWS::MSK::Configuration")
MODELS = [stand_in(kind) for kind in KINDS]


def complete_moto() -> None:
    from moto.cloudformation import parsing

    parsing.get_model_map().update(dict(zip(KINDS, MODELS, strict=True)))
    CloudFormationResponse.update_termination_protection = lambda self: ActionResult(
        {"StackId": self._get_param("StackName")}
    )
