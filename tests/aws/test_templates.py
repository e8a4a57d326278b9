"""The templates, linted and deployed into an emulated AWS: what an installation has, and who may do what."""

import json
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml
from cfnlint.api import lint_file
from moto.emr.models import emr_backends

from lakehouse.errors import UsageError
from tests.support.aws import REGION, settings_of
from tests.support.installation import (
    TEMPLATES,
    all_user_data,
    facts_in,
    install,
    role_statements,
    templates,
    user_data,
)


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.yaml")), ids=lambda path: path.name)
def test_cfn_lint_finds_nothing(path):
    assert [str(match) for match in lint_file(path)] == []


def named(session) -> dict[str, str]:
    """The parameters of a load balancer."""
    certificate = session.client("acm").request_certificate(DomainName="lake.example")["CertificateArn"]
    return {"CertificateArn": certificate, "HostName": "lake.example"}


@pytest.mark.parametrize(("size", "msk"), [("demo", 0), ("team", 1), ("production", 1)])
def test_a_size_brings_what_it_says(aws, size, msk):
    installation, _ = install(aws, size, **named(aws))
    data = installation.stacks.outputs("lake-data")
    facts = facts_in(user_data(aws))
    assert facts["SHOPLAKE_BUCKET"] == data["LakeBucket"] and facts["SHOPLAKE_DATA_DISK"] == data["DataDisk"]
    assert facts["SHOPLAKE_S3_ENDPOINT"] == "" and facts["SHOPLAKE_S3_REGION"] == REGION
    assert bool(facts["SHOPLAKE_MSK_CLUSTER"]) == bool(msk)
    assert installation.outputs["ApiUrl"] == "https://lake.example" and installation.release == "0.1.0-a"
    listeners = aws.client("elbv2")
    balancer = listeners.describe_load_balancers()["LoadBalancers"][0]
    assert balancer["Scheme"] == "internal"
    assert installation.outputs["BalancerAddress"] == balancer["DNSName"]
    found = listeners.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert {(one["Port"], one["Protocol"]) for one in found} == {(443, "HTTPS"), (8443, "HTTPS")}


@pytest.mark.parametrize("scheme", ["internal", "internet-facing"])
def test_strangers_are_told_nothing_that_needs_no_key(aws, scheme):
    install(aws, "team", **named(aws), Scheme=scheme)
    balancers = aws.client("elbv2")
    balancer = balancers.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    found = balancers.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    api = next(one for one in found if one["Port"] == 443)
    rules = balancers.describe_rules(ListenerArn=api["ListenerArn"])["Rules"]
    passing = [rule for rule in rules if not rule["IsDefault"]]
    if scheme == "internal":
        assert not passing and api["DefaultActions"][0]["Type"] == "forward"
        return
    assert api["DefaultActions"][0]["FixedResponseConfig"]["StatusCode"] == "404"
    (condition,) = passing[0]["Conditions"]
    patterns = condition["PathPatternConfig"]["Values"]
    assert passing[0]["Actions"][0]["Type"] == "forward" and len(patterns) <= 5  # as many as a rule may have

    def passes(path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in patterns)

    for path in ("/v1/runs", "/livez", "/docs", "/docs/start.js", "/openapi.json", "/problems/not-found"):
        assert passes(path), path
    for path in ("/metrics", "/readyz", "/%6detrics", "/%2e/readyz", "//metrics", "/"):
        assert not passes(path), path


def test_the_facts_of_the_instance_are_settings_that_work(aws, tmp_path):
    install(aws, "demo")
    settings = settings_of(facts_in(user_data(aws)))
    assert not settings.s3_is_embedded and settings.endpoint == "" and settings.kafka_is_embedded
    assert settings.api_host == "127.0.0.1", "without a certificate nothing listens to others"
    assert settings.data_dir == Path("/var/lib/shoplake/lake")


def open_doors(session) -> list[dict]:
    """The rules that let something in, but for those of AWS's own default group."""
    groups = session.client("ec2").describe_security_groups()["SecurityGroups"]
    return [one for group in groups if group["GroupName"] != "default" for one in group["IpPermissions"]]


def test_backups_may_go_to_the_named_bucket_and_none_may_be_deleted(aws):
    install(aws, "demo", BackupBucket="elsewhere")
    found = role_statements(aws)
    assert found["Backups"]["Resource"] == "arn:aws:s3:::elsewhere/*"
    assert "s3:DeleteObject" not in found["Backups"]["Action"]
    assert found["BackupListing"]["Resource"] == "arn:aws:s3:::elsewhere"


def test_alerts_of_the_platform_go_where_alarms_go_and_the_role_may_send_them(aws):
    install(aws, "demo")
    (topic,) = aws.client("sns").list_topics()["Topics"]
    facts = facts_in(user_data(aws))
    assert facts["SHOPLAKE_ALERT_SNS_TOPIC"] == topic["TopicArn"]
    allowed = {sid: one["Resource"] for sid, one in role_statements(aws).items()}
    assert "Backups" not in allowed
    assert allowed["Alerts"] == topic["TopicArn"]
    assert [sid for sid, resource in allowed.items() if resource == "*"] == ["Metrics"], "and that has a condition"


def test_producers_get_in_by_address_and_role_and_may_only_send(aws):
    def doors() -> list[tuple[int, str]]:
        return [(one["FromPort"], name["CidrIp"]) for one in open_doors(aws) for name in one["IpRanges"]]

    installation, _ = install(aws, "team", ProducerCidr="10.9.0.0/16")
    assert doors() == [(9098, "10.9.0.0/16")]
    iam, arn = aws.client("iam"), installation.outputs["ProducerPolicy"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    actions = {action for one in document["Statement"] for action in one["Action"]}
    assert "kafka-cluster:WriteData" in actions and "kafka-cluster:ReadData" not in actions
    assert document["Statement"][0]["Resource"] == installation.outputs["KafkaCluster"]
    assert document["Statement"][1]["Resource"].endswith("/shop.*")


@pytest.mark.parametrize(("given", "usd"), [({}, "1500"), ({"MonthlyBudgetUsd": "700"}, "700")])
def test_the_budget_is_what_is_usual_for_the_size_or_what_was_said(aws, given, usd):
    install(aws, "team", **given)
    stacks = aws.client("cloudformation").describe_stacks()["Stacks"]
    parameters = [one for stack in stacks for one in stack.get("Parameters", ())]
    asked = {one["ParameterValue"] for one in parameters if one["ParameterKey"] == "MonthlyBudgetUsd"}
    assert usd in asked and asked <= {usd, "by-size"}


def test_the_budget_may_be_left_out(aws):
    install(aws, "demo", MonthlyBudgetUsd="off")
    assert resources_of(aws, "AWS::Budgets::Budget") == []


def test_a_second_region_may_have_an_installation_of_the_same_name(aws):
    """Budgets and dashboards have one list in all regions, buckets have one in the world."""
    install(aws, "demo")
    assert resources_of(aws, "AWS::Budgets::Budget") == ["Budget"]
    (dashboard,) = aws.client("cloudwatch").list_dashboards()["DashboardEntries"]
    assert dashboard["DashboardName"] == f"lake-{REGION}"
    assert 'BudgetName: !Sub "${Name}-${AWS::Region}"' in (TEMPLATES / "monitoring.yaml").read_text()
    assert all(one["Name"].endswith(REGION) for one in aws.client("s3").list_buckets()["Buckets"])


def test_brokers_are_of_a_kind_that_can_become_newer():
    """MSK moves no cluster to KRaft, and a configuration's name and versions cannot change."""
    (pattern,) = re.findall(r'AllowedPattern: "(.+kraft.+)"', (TEMPLATES / "main.yaml").read_text())
    (default,) = re.findall(r"Default: (.+kraft)", (TEMPLATES / "main.yaml").read_text())
    assert re.fullmatch(pattern, default) and re.fullmatch(pattern, "4.1.x.kraft")
    assert not re.fullmatch(pattern, "3.8.x")
    assert "KafkaVersionsList:" not in (TEMPLATES / "kafka.yaml").read_text()


def test_partitions_may_be_given_to_brokers_that_were_added(aws):
    installation, _ = install(aws, "production", Brokers="6")
    spread = role_statements(aws, "kafka")["Spread"]
    assert (spread["Action"], spread["Resource"]) == (
        "kafka-cluster:AlterCluster",
        installation.outputs["KafkaCluster"],
    )


def between_machines(session) -> list[dict]:
    """The rule that lets a Spark cluster's machines reach one another."""
    return [rule for rule in open_doors(session) if rule["FromPort"] == 1024]


def test_executors_join_the_instance_and_may_do_less(aws):
    installation, _ = install(aws, "team", Executors="2")
    groups = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert sorted((one["MinSize"], one["MaxSize"]) for one in groups) == [(1, 1), (2, 2)]
    assert installation.outputs["ExecutorGroup"] in [one["AutoScalingGroupName"] for one in groups]
    driver, executor = sorted(all_user_data(aws), key=lambda text: "SHOPLAKE_ROLE=executor" in text)
    theirs, its = facts_in(executor), facts_in(driver)
    shared = ("CLUSTER_SECRET", "DRIVER_ADDRESS", "SPARK_EXECUTOR_CORES", "SPARK_EXECUTOR_MEMORY_MB", "BUCKET")
    assert all(theirs[f"SHOPLAKE_{name}"] == its[f"SHOPLAKE_{name}"] != "" for name in shared)
    assert its["SHOPLAKE_EXECUTORS"] == "2" and "SHOPLAKE_ROLE" not in its
    assert aws.client("ssm").get_parameter(Name=its["SHOPLAKE_DRIVER_ADDRESS"])["Parameter"]["Value"] == "none yet"
    assert len(between_machines(aws)) == 1
    allowed = role_statements(aws, "shoplake-executor")
    assert "s3:DeleteObject" not in allowed["Lake"]["Action"] and "kafka-cluster:WriteData" not in str(allowed)
    assert [sid for sid, one in allowed.items() if one["Resource"] == "*"] == []


def resources_of(session, kind: str) -> list[str]:
    """The resources of a kind that all stacks have, by their names in the templates."""
    client = session.client("cloudformation")
    stacks = client.describe_stacks()["Stacks"]
    each = [client.list_stack_resources(StackName=one["StackId"])["StackResourceSummaries"] for one in stacks]
    return sorted(one["LogicalResourceId"] for found in each for one in found if one["ResourceType"] == kind)


@pytest.mark.parametrize(("most", "policies"), [("0", []), ("6", ["FewerExecutors", "MoreExecutors"])])
def test_executors_follow_the_lag_between_two_limits(aws, most, policies):
    installation, _ = install(aws, "team", Executors="2", MostExecutors=most)
    name = installation.outputs["ExecutorGroup"]
    found = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    (group,) = found["AutoScalingGroups"]
    assert (group["MinSize"], group["MaxSize"]) == (2, 6 if policies else 2)
    assert resources_of(aws, "AWS::AutoScaling::ScalingPolicy") == policies
    (driver,) = [text for text in all_user_data(aws) if "SHOPLAKE_ROLE=executor" not in text]
    assert facts_in(driver)["SHOPLAKE_EXECUTORS"] == ("6" if policies else "2"), "partitions for all of them"
    alarms = set(resources_of(aws, "AWS::CloudWatch::Alarm"))
    assert {"WantsExecutor", "SparesExecutor"} & alarms == ({"WantsExecutor", "SparesExecutor"} if policies else set())


def test_executors_may_come_from_emr_whose_machines_may_do_as_little(aws):
    installation, _ = install(aws, "team", Executors="2", ExecutorsFrom="emr")
    emr, facts = aws.client("emr"), facts_in(user_data(aws))
    (cluster,) = emr.list_clusters()["Clusters"]
    assert installation.outputs["EmrCluster"] == cluster["Id"] and "ExecutorGroup" not in installation.outputs
    assert facts["SHOPLAKE_YARN_MANAGER"] == "ip-10-40-2-30.internal" and facts["SHOPLAKE_CLUSTER_SECRET"] == ""
    assert facts["SHOPLAKE_EXECUTORS"] == "2"
    places = emr.describe_cluster(ClusterId=cluster["Id"])["Cluster"]["Ec2InstanceAttributes"]
    assert places["EmrManagedMasterSecurityGroup"] == places["EmrManagedSlaveSecurityGroup"]
    assert places["AdditionalSlaveSecurityGroups"] == places["AdditionalMasterSecurityGroups"]
    ec2, tag = aws.client("ec2"), {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"}
    named = [places["EmrManagedMasterSecurityGroup"], places["ServiceAccessSecurityGroup"]]
    groups = ec2.describe_security_groups(GroupIds=named + places["AdditionalMasterSecurityGroups"])["SecurityGroups"]
    subnets = ec2.describe_subnets(SubnetIds=[places["Ec2SubnetId"]])["Subnets"]
    assert all(tag in each["Tags"] for each in (*groups, *subnets)), "or EMR's own policy lets nothing be made there"
    assert len(between_machines(aws)) == 1
    # The emulation forgets what a cluster of a stack is secured with.
    assert "SecurityConfiguration: !Ref Security\n" in (TEMPLATES / "emr.yaml").read_text()
    (secured,) = emr_backends["123456789012"][REGION].security_configurations.values()
    security = secured.security_configuration
    disks = security["EncryptionConfiguration"]["AtRestEncryptionConfiguration"]["LocalDiskEncryptionConfiguration"]
    assert disks["EnableEbsEncryption"] and disks["AwsKmsKey"].startswith("arn:aws:kms:")
    assert security["InstanceMetadataServiceConfiguration"]["MinimumInstanceMetadataServiceVersion"] == 2
    theirs = role_statements(aws, "shoplake-emr-machine")
    assert "s3:DeleteObject" not in theirs["Lake"]["Action"] and "kafka-cluster:WriteData" not in str(theirs)
    assert [sid for sid, one in theirs.items() if one["Resource"] == "*"] == []


def test_without_executors_no_machine_reaches_another(aws):
    installation, _ = install(aws, "team")
    assert "ExecutorGroup" not in installation.outputs
    (data,) = all_user_data(aws)
    assert facts_in(data)["SHOPLAKE_CLUSTER_SECRET"] == "" and facts_in(data)["SHOPLAKE_EXECUTORS"] == "0"
    assert between_machines(aws) == []


def test_without_a_certificate_there_is_no_way_in(aws):
    installation, _ = install(aws, "demo")
    assert aws.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    assert open_doors(aws) == [] and "SSM" in installation.outputs["ApiUrl"]


def test_the_lake_is_private_versioned_and_encrypted(aws):
    installation, _ = install(aws, "demo")
    bucket, s3 = installation.stacks.outputs("lake-data")["LakeBucket"], aws.client("s3")
    template = (TEMPLATES / "data.yaml").read_text()
    assert template.count("RestrictPublicBuckets: true") == template.count("Type: AWS::S3::Bucket\n") == 2
    assert template.count("VersioningConfiguration: {Status: Enabled}") == 2
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    # The emulation forgets how a volume is encrypted: what the template says has to do.
    assert template.count("Type: AWS::EC2::Volume\n") == template.count("Encrypted: true") == 2
    assert aws.client("ec2").describe_volumes(VolumeIds=[installation.stacks.outputs("lake-data")["DataDisk"]])


def test_settings_and_machine_of_a_person_reach_the_instance(aws):
    given = "SHOPLAKE_TOPIC_RETENTION_HOURS=24 SHOPLAKE_TOP_N=20"
    install(aws, "demo", InstanceType="m7i.2xlarge", TriggerSeconds="5", Settings=given, LagRecords="7")
    data = user_data(aws)
    facts = facts_in(data)
    assert (facts["SHOPLAKE_TRIGGER_SECONDS"], facts["SHOPLAKE_SPARK_MEMORY_MB"]) == ("5", "14336")
    assert facts["SHOPLAKE_ALERT_LAG_RECORDS"] == "7"
    (line,) = (line for line in data.splitlines() if line.startswith("tr "))
    done = subprocess.run(["bash", "-c", line.partition(" >>")[0]], capture_output=True, check=True)
    settings = settings_of({**facts, **facts_in(done.stdout.decode())})
    assert (settings.topic_retention_hours, settings.top_n, settings.trigger_seconds) == (24, 20, 5)


@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        ("", True),
        ("SHOPLAKE_TOP_N=20", True),
        ("SHOPLAKE_TOP_N=20 SHOPLAKE_BUCKET=a-b.c", True),
        ("PATH=/tmp", False),
        ("SHOPLAKE_TOP_N=$(id)", False),
        ("SHOPLAKE_TOP_N=1;id", False),
        ("SHOPLAKE_TOP_N", False),
        ("SHOPLAKE_TOP_N=1  SHOPLAKE_BUCKET=b", False),
    ],
)
def test_settings_are_pairs_without_anything_that_a_shell_would_run(text, is_allowed):
    pattern = re.search(r'AllowedPattern: "(\^\(SHOPLAKE_.+)"', (TEMPLATES / "main.yaml").read_text())[1]
    assert bool(re.fullmatch(pattern, text)) == is_allowed


@pytest.mark.parametrize(("zone", "letter"), [("first", "a"), ("second", "b")])
def test_an_installation_can_be_in_either_zone(aws, zone, letter):
    """The instance goes where its disk is, whatever was said this time."""
    install(aws, "demo", Zone=zone)
    (group,) = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    (subnet,) = aws.client("ec2").describe_subnets(SubnetIds=[group["VPCZoneIdentifier"]])["Subnets"]
    assert subnet["AvailabilityZone"].endswith(letter)
    # The emulation looks for a volume's zone in another region, and forgets it.
    assert resources_of(aws, "AWS::EC2::Volume") == [{"first": "DataDisk", "second": "DataDiskSecond"}[zone]]
    places = re.findall(r"AvailabilityZone: !Select \[(.), !Split", (TEMPLATES / "data.yaml").read_text())
    assert places == ["0", "1"]


def test_the_other_zone_gets_a_disk_of_its_own_and_the_old_one_stays(aws):
    """CloudFormation refuses to move a volume, and to replace one."""
    installation, _ = install(aws, "demo")
    before = installation.stacks.outputs("lake-data")["DataDisk"]
    plan = installation.plan_data(templates()["data.yaml"], {"Zone": "second"})
    installation.stacks.execute(plan, lambda _event: None)
    after = installation.stacks.outputs("lake-data")["DataDisk"]
    assert {one["VolumeId"] for one in aws.client("ec2").describe_volumes()["Volumes"]} >= {before, after}
    assert before != after


KEY = f"arn:aws:kms:{REGION}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize("given", [{"Executors": "2"}, {"Executors": "2", "ExecutorsFrom": "emr"}], ids=["ec2", "emr"])
def test_a_key_of_ones_own_encrypts_what_stays_and_who_reads_it_may_use_it(aws, given):
    installation, _ = install(aws, "team", KmsKeyArn=KEY, **given)
    data, s3 = installation.stacks.outputs("lake-data"), aws.client("s3")

    def rule(bucket: str) -> dict:
        return s3.get_bucket_encryption(Bucket=data[bucket])["ServerSideEncryptionConfiguration"]["Rules"][0]

    lake = rule("LakeBucket")
    assert lake["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    own = rule("ReleasesBucket")["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    assert own == "AES256", "or the balancer cannot write its access logs"
    # The emulation forgets the key of a volume and of a secret, and that of a bucket is for an hour.
    template = (TEMPLATES / "data.yaml").read_text()
    assert template.count("KmsKeyId: !If [HasKey, !Ref KmsKeyArn") == 3 and "BucketKeyEnabled: true" in template
    instance = role_statements(aws, "key")
    assert {one["Resource"] for one in instance.values()} == {KEY}
    assert instance["Disk"]["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    machines = "shoplake-emr-machine" if "ExecutorsFrom" in given else "shoplake-executor"
    assert role_statements(aws, machines)["Key"]["Resource"] == KEY
    analysts = aws.client("iam").get_policy_version(PolicyArn=installation.outputs["AnalystPolicy"], VersionId="v1")
    statements = analysts["PolicyVersion"]["Document"]["Statement"]
    assert [one["Resource"] for one in statements if one["Sid"] == "Key"] == [KEY]


def test_without_a_key_nobody_may_use_any(aws):
    installation, _ = install(aws, "team", Executors="2")
    bucket = installation.stacks.outputs("lake-data")["LakeBucket"]
    rules = aws.client("s3").get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert "Key" not in role_statements(aws, "shoplake-executor")
    with pytest.raises(ValueError, match="not enough values"):
        role_statements(aws, "key")


def test_the_key_is_chosen_once(aws):
    """A disk keeps its key."""
    installation, _ = install(aws, "demo")
    with pytest.raises(UsageError, match="lake keeps its key"):
        installation.plan_data(templates()["data.yaml"], {"KmsKeyArn": KEY})
    installation.plan_data(templates()["data.yaml"], {"KmsKeyArn": ""})


def test_bronze_cools_down_and_the_disk_is_as_large_as_one_chooses(aws):
    installation, _ = install(aws, "demo", BronzeStorage="GLACIER_IR", DiskGiB="77")
    assert installation.stacks.parameters("lake-data")["BronzeStorage"] == "GLACIER_IR"
    # The emulation forgets the lifecycle of a bucket.
    rule = (TEMPLATES / "data.yaml").read_text().split("- Id: bronze-cools-down")[1].split("NoValue")[0]
    assert "{StorageClass: !Ref BronzeStorage, TransitionInDays: 30}" in rule
    disk = installation.stacks.outputs("lake-data")["DataDisk"]
    assert aws.client("ec2").describe_volumes(VolumeIds=[disk])["Volumes"][0]["Size"] == 77


def test_a_network_that_is_there_is_used_and_none_is_made(aws):
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    made = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.8.{number}.0/24", AvailabilityZone=f"{REGION}{letter}")
        for number, letter in enumerate("bca")
    ]
    subnets = [one["Subnet"]["SubnetId"] for one in made]
    before = len(ec2.describe_vpcs()["Vpcs"])
    installation, _ = install(aws, "team", PrivateSubnets=",".join(subnets), Zone="second", **named(aws))
    assert len(ec2.describe_vpcs()["Vpcs"]) == before and ec2.describe_nat_gateways()["NatGateways"] == []
    (group,) = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert group["VPCZoneIdentifier"] == subnets[1], "with the disk, in the second zone"
    assert installation.stacks.parameters("lake-data")["Zones"] == f"{REGION}b,{REGION}c,{REGION}a"
    assert facts_in(user_data(aws))["SHOPLAKE_API_TRUSTED_PROXIES"] == "10.8.0.0/16"
    (balancer,) = aws.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert {one["SubnetId"] for one in balancer["AvailabilityZones"]} == set(subnets)
    with pytest.raises(UsageError, match="each in a zone of its own"):
        installation.network({"PrivateSubnets": ",".join([subnets[0]] * 3)})


def test_a_machine_writes_into_buckets_of_this_account_only(aws):
    install(aws, "demo", BackupBucket="elsewhere")
    (endpoint,) = aws.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    statements = yaml.safe_load(endpoint["PolicyDocument"])["Statement"]
    writing = [one for one in statements if "s3:PutObject" in one["Action"] or one["Action"] == "s3:*"]
    assert [one["Sid"] for one in writing] == ["OwnAccount", "Backups"]
    assert writing[0]["Condition"] == {"StringEquals": {"aws:ResourceAccount": "123456789012"}}
    assert writing[1]["Resource"] == "arn:aws:s3:::elsewhere/*"


def test_the_load_balancer_tells_who_asked():
    """The emulation forgets attributes of a balancer and policies of a bucket: what the templates say has to do."""
    compute, data = (TEMPLATES / "compute.yaml").read_text(), (TEMPLATES / "data.yaml").read_text()
    assert '{Key: access_logs.s3.enabled, Value: "true"}' in compute
    (prefix,) = re.findall(r"{Key: access_logs.s3.prefix, Value: (.+)}", compute)
    assert f"${{Releases.Arn}}/{prefix}/AWSLogs/${{AWS::AccountId}}/*" in data
    assert "Service: logdelivery.elasticloadbalancing.amazonaws.com" in data and f"Prefix: {prefix}/\n" in data


def test_the_dashboard_is_json():
    text = (TEMPLATES / "monitoring.yaml").read_text().split("DashboardBody: !Sub |\n")[1].split("\n\n")[0]
    assert json.loads(text)["widgets"]


def test_every_alarm_stands_in_the_runbook():
    alarms = re.findall(r'AlarmName: !Sub "\$\{Name\} (.+)"', (TEMPLATES / "monitoring.yaml").read_text())
    told = (TEMPLATES.parents[2] / "docs" / "how-to" / "aws-operate.md").read_text()
    assert len(alarms) >= 6
    assert [name for name in alarms if f"*{name}*" not in told] == []
