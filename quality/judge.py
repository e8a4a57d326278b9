"""Great Expectations as the judge of what SQL measures."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from quality.declaration import Ask, Severity, Suite

_SHOWN = 5
MOST_UNITS = 1000
"""So many units that fail are named; where there are more, all of the table is held back."""


@dataclass(frozen=True)
class Verdict:
    """What became of one expectation. `observed` is JSON: rows looked at, some values that are not as expected, and
    where faults can be told apart, which units fail (`failing`)."""

    table: str
    expectation: str
    severity: Severity
    success: bool
    observed: str
    means: str


class Judge:
    """Great Expectations; what it says is kept in `ops.quality_results` alone."""

    def __init__(self) -> None:
        """Open the context; importing it takes some seconds. It is told not to report to its makers."""
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        import great_expectations as gx

        expectations: Any = gx.expectations
        self._between = expectations.ExpectColumnValuesToBeBetween
        quiet: Any = {"globally": False}
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = quiet
        measured = context.data_sources.add_pandas("lake").add_dataframe_asset("measured")
        self._measured = measured.add_batch_definition_whole_dataframe("whole")

    def judge(self, suites: Iterable[Suite], ask: Ask, days: Sequence[date] | None = None) -> Iterator[Verdict]:
        """Every expectation's verdict, over the given days or over everything."""
        import pandas as pd

        for suite in suites:
            condition = suite.on(days)
            # The columns are named, since an answer may have no rows.
            frame = pd.DataFrame(ask(suite.query(condition)), columns=[each.name for each in suite.expectations])
            batch = self._measured.get_batch({"dataframe": frame})
            for each in suite.expectations:
                result = batch.validate(self._between(column=each.name, min_value=each.low, max_value=each.high))
                said = result.result or {}
                unexpected = said.get("partial_unexpected_list", [])[:_SHOWN]
                figures = {"rows": said.get("element_count"), "unexpected": unexpected}
                if not result.success and suite.unit:
                    units = [str(row["unit"]) for row in ask(suite.failing_units(each, condition))]
                    figures["failing"] = units if len(units) <= MOST_UNITS else None
                observed = json.dumps(figures, default=str)
                yield Verdict(suite.table, suite.id_of(each), each.severity, bool(result.success), observed, each.means)
