"""The tables of silver and gold in the Glue catalogue: a template that `python -m docs.generate` makes.

Athena reads Delta's own log, so the catalogue must only say where a table is. Its columns are for people,
QuickSight and Lake Formation.
"""

import json
from collections.abc import Sequence

from pyspark.sql.types import StructField

from lakehouse.table import Table

LAYERS = ("silver", "gold")
LONGEST_COMMENT = 255
_HEAD = """\
# Made by `python -m docs.generate` from the declarations of the tables.
AWSTemplateFormatVersion: "2010-09-09"
Description: "Shoplake: the tables of silver and gold, as Athena reads them"

Parameters:
  LakeBucket:
    Type: String
    Description: "Bucket of the lake"
  Silver:
    Type: String
    Description: "Database of silver's tables"
  Gold:
    Type: String
    Description: "Database of gold's tables"

Resources:
"""


def template(tables: Sequence[Table]) -> str:
    """The template of the tables that Athena reads."""
    return _HEAD + "\n".join(_resource(table) for table in tables if table.layer in LAYERS)


def _resource(table: Table) -> str:
    name = "".join(word.capitalize() for word in (table.layer, *table.name.split("_")))
    columns = "\n".join(f"            - {_column(field)}" for field in table.schema.fields)
    return f"""\
  {name}:
    Type: AWS::Glue::Table
    Properties:
      CatalogId: !Ref AWS::AccountId
      DatabaseName: !Ref {table.layer.capitalize()}
      TableInput:
        Name: {table.name}
        Description: {json.dumps(f"One row is {table.grain}", ensure_ascii=False)}
        TableType: EXTERNAL_TABLE
        Parameters: {{EXTERNAL: "TRUE", table_type: DELTA, spark.sql.sources.provider: delta, classification: delta}}
        StorageDescriptor:
          Location: !Sub "s3://${{LakeBucket}}/{table.layer}/{table.name}/"
          InputFormat: org.apache.hadoop.mapred.SequenceFileInputFormat
          OutputFormat: org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat
          SerdeInfo: {{SerializationLibrary: org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe}}
          Columns:
{columns}
"""


def _column(field: StructField) -> str:
    comment = str(field.metadata.get("comment", ""))
    short = comment if len(comment) <= LONGEST_COMMENT else f"{comment[: LONGEST_COMMENT - 1]}…"
    kind, text = json.dumps(field.dataType.simpleString()), json.dumps(short, ensure_ascii=False)
    return f"{{Name: {field.name}, Type: {kind}, Comment: {text}}}"
