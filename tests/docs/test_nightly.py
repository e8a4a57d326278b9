"""The shares of the nightly tests name tests that there are."""

import pytest

from tests.support.nightly import BY_HAND, SHARES
from tests.support.pages import ROOT


@pytest.mark.parametrize("name", [*(name for share in SHARES for name in share), *BY_HAND])
def test_the_name_begins_that_of_a_nightly_test(name: str) -> None:
    """A nightly test that is not in one share fails (tests/conftest.py)."""
    file, _, test = name.partition("::")
    text = (ROOT / file).read_text()
    assert "mark.nightly" in text and f"def {test.partition('[')[0]}" in text


def test_a_share_a_day_runs_all_in_eight() -> None:
    assert len(SHARES) == 8 and "% 8))" in (ROOT / ".ci" / "run").read_text()
