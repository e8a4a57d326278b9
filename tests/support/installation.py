"""An installation in an emulated AWS, and what can be read off it."""

import base64

import yaml

from deploy.aws.installation import Installation


def install(session, size, **parameters):
    installation, events = Installation("lake", session, poll_seconds=0), []
    installation.stacks.execute(installation.plan_data({"Size": size}), events.append)
    installation.protect_data()
    installation.stacks.execute(installation.plan("0.1.0-a", {"Size": size, **parameters}), events.append)
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
    document = yaml.safe_load(iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"])
    return {one["Sid"]: one for one in document["Statement"]}
