"""Silver and gold in the Glue catalogue, as declared; and questions to them that name columns which are there."""

import duckdb

from deploy.aws import catalogue
from lakehouse.catalog import TABLES
from tests.support.installation import install, resources

READ = [table for table in TABLES if table.layer in catalogue.LAYERS]


def test_every_table_of_silver_and_gold_is_in_the_catalogue_as_declared(aws):
    glue, inputs = aws.client("glue"), resources("catalogue.yaml", "AWS::Glue::Table")
    assert len(inputs) == len(READ) > 8
    for layer in catalogue.LAYERS:
        glue.create_database(DatabaseInput={"Name": layer})
    for one in inputs:
        glue.create_table(DatabaseName=one["DatabaseName"].lower(), TableInput=one["TableInput"])
    for table in READ:
        found = glue.get_table(DatabaseName=table.layer, Name=table.name)["Table"]
        columns = {column["Name"]: column["Type"] for column in found["StorageDescriptor"]["Columns"]}
        assert columns == {field.name: field.dataType.simpleString() for field in table.schema.fields}
        assert all(len(column["Comment"]) <= 255 for column in found["StorageDescriptor"]["Columns"])
        assert found["StorageDescriptor"]["Location"] == f"s3://${{LakeBucket}}/{table.layer}/{table.name}/"
        assert found["Parameters"]["table_type"] == "DELTA" and found["TableType"] == "EXTERNAL_TABLE"


def test_the_saved_queries_run_on_the_declared_columns():
    queries = resources("athena.yaml", "AWS::Athena::NamedQuery")
    assert len(queries) == 3
    with duckdb.connect() as connection:
        for table in READ:
            columns = ", ".join(f'"{one.name}" {one.dataType.simpleString()}' for one in table.schema.fields)
            columns = columns.replace("array<string>", "varchar[]").replace(" string", " varchar")
            if "struct<" not in columns and table.layer == "gold":
                connection.execute(f"CREATE TABLE {table.name} ({columns})")
        for query in queries:
            assert connection.execute(query["QueryString"]).fetchall() == []


def test_questions_have_limits_and_analysts_change_nothing(aws):
    installation, _ = install(aws, "demo")
    (group,) = resources("athena.yaml", "AWS::Athena::WorkGroup")
    limits = group["WorkGroupConfiguration"]
    assert limits["EnforceWorkGroupConfiguration"] and limits["BytesScannedCutoffPerQuery"] == "${GbPerQuery}000000000"
    iam, arn = aws.client("iam"), installation.outputs["AnalystPolicy"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    allowed = {one["Sid"]: one for one in document["Statement"]}
    assert "s3:PutObject" not in str(allowed["Read"]) and "/athena/lake/*" in allowed["Answers"]["Resource"]
    assert not [one for one in document["Statement"] if one["Resource"] == "*"]
