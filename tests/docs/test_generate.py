"""What documents repeat from the code is what the code says."""

from docs.generate import drifted


def test_no_document_has_drifted() -> None:
    assert drifted() == [], "run `python -m docs.generate`"
