"""Where an installation is: three zones of its region, chosen once, or a network that is there."""

from typing import Any

from lakehouse.errors import UsageError

TYPES = ("m7i.xlarge", "m7i.2xlarge", "m7i.4xlarge")
"""What the templates start: a zone must have all of them."""


def offering(session: Any) -> list[str]:
    """Three zones of the session's region that have the machines. Raises UsageError when there are fewer."""
    ec2 = session.client("ec2")
    kinds = [{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "state", "Values": ["available"]}]
    zones = {one["ZoneName"] for one in ec2.describe_availability_zones(Filters=kinds)["AvailabilityZones"]}
    for machine in TYPES:
        wanted = [{"Name": "instance-type", "Values": [machine]}]
        found = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=wanted)
        zones &= {one["Location"] for one in found["InstanceTypeOfferings"]}
    if len(zones) < 3:
        region, have = session.region_name, ", ".join(sorted(zones)) or "none"
        raise UsageError(f"Three zones with machines of the type m7i are needed, and {region} has {have}.")
    return sorted(zones)[:3]


def network(session: Any, subnets: str) -> dict[str, str]:
    """The templates' parameters for a network, by three private subnets of it. Raises UsageError for others."""
    wanted, ec2 = subnets.split(","), session.client("ec2")
    found = {one["SubnetId"]: one for one in ec2.describe_subnets(SubnetIds=sorted(set(wanted)))["Subnets"]}
    names = [found[one]["AvailabilityZone"] for one in wanted]
    networks = {one["VpcId"] for one in found.values()}
    if len(networks) != 1 or len(names) != 3 or len(set(names)) != 3:
        raise UsageError("PrivateSubnets are three of one network, each in a zone of its own.")
    (vpc,) = networks
    (described,) = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    return {"Vpc": vpc, "VpcCidr": described["CidrBlock"], "Zones": ",".join(names)}
