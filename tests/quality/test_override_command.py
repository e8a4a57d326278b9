"""`shoplake quality override` takes no decision that names nothing, gives no reason, or holds for long."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.errors import UsageError

KNOWN = "gold.kpis_hourly.each_hour_once"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gold.kpis_hourly.nonsense", "--for", "2h", "--reason", "why"], "no expectation 'gold.kpis_hourly.nonsense'"),
        ([KNOWN, "--for", "2h", "--reason", " "], "--reason must say why."),
        *(([KNOWN, "--for", length, "--reason", "why"], "a week at most") for length in ("8d", "169h")),
        *(
            ([KNOWN, "--for", length, "--reason", "why"], "--for is a number with a unit")
            for length in ("0m", "2", "", "9999999d", "999999w")
        ),
    ],
)
def test_what_is_no_decision_is_refused_with_a_sentence(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["quality", "override", *arguments])
    assert isinstance(done.exception, UsageError) and done.exception.exit_code == 2
    assert said in str(done.exception) and "\n" not in str(done.exception)


@pytest.mark.parametrize("arguments", [[KNOWN, "--for", "2h"], [KNOWN, "--reason", "why"], []])
def test_a_decision_without_its_length_or_reason_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["quality", "override", *arguments]).exit_code == 2
