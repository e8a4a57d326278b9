"""A drawn picture is that of its source: `make pictures` draws it again."""

import re

from tests.support.pages import ROOT

SOURCE = ROOT / "docs" / "images" / "aws.dot"


def test_the_picture_of_aws_has_every_place_of_its_source() -> None:
    declared = re.findall(r'\b(\w+) \[pos="[^"]+", (?:width|label)', SOURCE.read_text())
    drawn = SOURCE.with_suffix(".svg").read_text()
    assert len(declared) > 30
    assert [name for name in declared if f"<title>{name}</title>" not in drawn] == []
