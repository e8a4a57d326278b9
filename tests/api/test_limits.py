"""Requests per minute: a clock that tests set."""

import threading

from api.limits import MINUTE, Window, network_of


class Clock:
    seconds = 1_000 * MINUTE

    def __call__(self) -> float:
        return self.seconds


def passes(window: Window, who: str, times: int) -> int:
    return sum(not window.wait(who) for _ in range(times))


def test_as_many_as_allowed_pass_each_for_itself():
    window = Window(10, "It", Clock())
    assert passes(window, "a", 15) == 10
    assert passes(window, "b", 3) == 3


def test_the_minute_slides():
    clock = Clock()
    window = Window(10, "It", clock)
    clock.seconds += MINUTE - 1
    assert passes(window, "a", 20) == 10
    clock.seconds += 1
    assert passes(window, "a", 20) == 0
    clock.seconds += MINUTE / 2
    assert passes(window, "a", 20) == 5
    clock.seconds += MINUTE
    assert passes(window, "a", 20) == 7  # half of the five of the minute before still count
    clock.seconds += 3 * MINUTE
    assert passes(window, "a", 20) == 10


def test_after_the_wait_that_is_told_it_passes():
    clock = Clock()
    window = Window(10, "It", clock)
    assert passes(window, "a", 11) == 10
    for _ in range(20):
        seconds = window.wait("a")
        assert 0 < seconds <= MINUTE + 6
        clock.seconds += seconds + 0.001
        if passes(window, "a", 1):
            break
    assert clock.seconds - Clock.seconds <= MINUTE * 1.2
    clock.seconds += 1
    told = window.wait("a")
    clock.seconds += told - 0.01
    assert passes(window, "a", 1) == 0
    clock.seconds += 0.02
    assert passes(window, "a", 1) == 1


def test_who_did_nothing_is_forgotten_and_no_thread_runs():
    clock = Clock()
    window, threads = Window(10, "It", clock), threading.active_count()
    for number in range(1_000):
        window.wait(f"a{number}")
    clock.seconds += 2 * MINUTE
    window.wait("b")
    assert len(window._counts) + len(window._before) == 1 and threading.active_count() <= threads  # others may end


def test_who_is_counted_as_one_address():
    assert network_of("203.0.113.7") == network_of("::ffff:203.0.113.7") != network_of("::ffff:203.0.113.8")
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:0:1::1")
