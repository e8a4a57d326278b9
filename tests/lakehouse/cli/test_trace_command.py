"""`shoplake trace` writes numbers as people do."""

from decimal import Decimal

import pytest

from lakehouse.cli.trace import _number


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Decimal("0E-9"), "0"),
        (Decimal("4E-9"), "0.000000004"),
        (Decimal("12000.000000000"), "12000"),
        (Decimal("10.100000000"), "10.1"),
        (1000, "1000"),
        (0.5, "0.5"),
        (None, "NULL"),
    ],
)
def test_a_number_has_its_digits_and_no_exponent(value: object, said: str) -> None:
    assert _number(value) == said
