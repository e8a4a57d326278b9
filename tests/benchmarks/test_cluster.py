"""What is read off a measured curve."""

import pytest

from benchmarks.cluster import _read_off


def test_a_curve_is_read_off_between_two_looks() -> None:
    found = _read_off([(0.0, 1000), (10.0, 800), (20.0, 400), (30.0, 0)])
    assert found == pytest.approx({0.75: 11.25, 0.5: 17.5, 0.25: 23.75, 0.0: 30.0})


def test_all_of_it_in_one_batch() -> None:
    assert _read_off([(0.0, 1000), (8.0, 0)])[0.0] == 8.0
