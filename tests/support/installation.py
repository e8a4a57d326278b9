"""An installation in an emulated AWS, and what can be read off it."""

import base64

import yaml

from deploy.aws.installation import Installation
from deploy.aws.release import ROOT

TEMPLATES = ROOT / "deploy/aws/templates"


def templates() -> dict[str, bytes]:
    """Those of this checkout."""
    return {path.name: path.read_bytes() for path in sorted(TEMPLATES.glob("*.yaml"))}


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, of which the text is enough here."""


Loader.add_multi_constructor("!", lambda loader, _tag, node: getattr(node, "value", None))


def resources(name: str, kind: str) -> list[dict]:
    """The properties of the resources of a kind in a template."""
    found = yaml.load((TEMPLATES / name).read_text(), Loader)["Resources"].values()  # noqa: S506 - our own file
    return [one["Properties"] for one in found if one["Type"] == kind]


def plan(installation: Installation, release: str, **given: str):
    return installation.plan(release, installation.shelf.new_pin(release, templates()), given)


def install(session, size, **parameters):
    installation, events = Installation("lake", session, poll_seconds=0), []
    parameters |= installation.network(parameters)
    parameters |= {"Size": size}
    installation.stacks.execute(installation.plan_data(templates()["data.yaml"], parameters), events.append)
    installation.protect_data()
    pin = installation.shelf.new_pin("0.1.0-a", templates())
    installation.stacks.execute(installation.plan("0.1.0-a", pin, parameters), events.append)
    installation.shelf.keep("0.1.0-a", pin)
    return installation, events


def all_user_data(session) -> list[str]:
    ec2, found = session.client("ec2"), []
    for template in ec2.describe_launch_templates()["LaunchTemplates"]:
        of_it = {"LaunchTemplateId": template["LaunchTemplateId"], "Versions": ["$Latest"]}
        data = ec2.describe_launch_template_versions(**of_it)["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        assert data["MetadataOptions"]["HttpTokens"] == "required"
        found.append(base64.b64decode(data["UserData"]).decode())
    return found


def user_data(session) -> str:
    (data,) = all_user_data(session)
    return data


def facts_in(data: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in data.splitlines() if line.startswith("SHOPLAKE_"))


def role_statements(session, policy: str = "shoplake") -> dict[str, dict]:
    """What the role with this policy (the instance's) may do, by the statements' names."""
    iam = session.client("iam")
    roles = [one["RoleName"] for one in iam.list_roles()["Roles"]]
    (role,) = [one for one in roles if policy in iam.list_role_policies(RoleName=one)["PolicyNames"]]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    if isinstance(document, str):  # of a policy that is a resource of its own moto keeps the object
        document = yaml.safe_load(document)
    return {one["Sid"]: one for one in document["Statement"]}
