"""Timing in rounds: every case once a round, ratios within the round."""

from __future__ import annotations

from collections import Counter

import pytest

from homeguard.benchmark.rounds import Case, Spread, Timing, measure, ratio


def test_every_case_is_timed_once_a_round_for_one_of_its_parts():
    runs: Counter[str] = Counter()

    def working(name):
        def run():
            runs[name] += 1
            return sum(range(200_000))

        return run

    ended: list[int] = []
    cases = [Case("one", working("one")), Case("four", working("four"), parts=4)]
    timings = measure(cases, 5, ended.append)
    assert ended == [1, 2, 3, 4, 5]
    assert set(timings) == set(runs) == {"one", "four"}
    assert all(len(t.cpu_ms) == len(t.wall_ms) == 5 for t in timings.values())
    assert all(t.cpu.median > 0.0 for t in timings.values())


def test_ratios_are_taken_round_by_round():
    busy = Timing((2.0, 40.0, 6.0), (2.0, 40.0, 6.0))
    calm = Timing((1.0, 10.0, 2.0), (1.0, 10.0, 2.0))
    assert ratio(busy, calm).median == pytest.approx(3.0)
    assert ratio(busy, calm).times(0.5).median == pytest.approx(1.5)


def test_a_spread_is_the_median_and_the_quartiles():
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)
