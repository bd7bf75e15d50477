"""Steps by as many threads as they take least time with, on a clock that only steps move."""

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import vflc_kernels
from vflc_runtime.run import thread_choice as module
from vflc_runtime.run.thread_choice import ThreadChoice, thread_choice

Took = Callable[[int, float], float]
"""The seconds of a step by so many threads that begins at a time."""


class Simulated:
    """A run whose steps take the seconds that a test says."""

    def __init__(self, most: int, took: Took) -> None:
        self.now, self.used, self.took = 0.0, -1, took
        self.choice = ThreadChoice(most, self._use, lambda: self.now)

    def _use(self, threads: int) -> None:
        self.used = threads

    def step(self) -> int:
        """By how many threads it was done."""
        with self.choice:
            threads = self.used
            self.now += self.took(threads, self.now)
        assert self.used == 0, "steps of others have all threads"
        return threads

    def until(self, seconds: float) -> Counter[int]:
        """Steps by their numbers of threads."""
        found: Counter[int] = Counter()
        while self.now < seconds:
            found[self.step()] += 1
        return found


def jagged(seconds: dict[int, float]) -> Took:
    """Steps of which every 13th takes three times as long, by whatever threads."""
    count = [0]

    def took(threads: int, _: float) -> float:
        count[0] += 1
        return seconds[threads] * (3 if count[0] % 13 == 0 else 1)

    return took


@pytest.mark.parametrize(
    ("most", "seconds", "best"),
    [
        (2, {2: 2.0, 1: 1.5}, 1),
        (2, {2: 2.0, 1: 2.2}, 2),
        (8, {8: 2.0, 4: 1.7, 2: 1.5, 1: 1.9}, 2),
        (8, {8: 2.0, 4: 2.0, 2: 1.0, 1: 0.5}, 8),  # numbers are halved as long as that is better
        (3, {3: 2.0, 1: 1.5}, 1),
        (6, {6: 2.0, 3: 1.0, 1: 2.0}, 3),
    ],
    ids=["one", "two", "two of eight", "eight", "one of three", "three of six"],
)
def test_the_fastest_is_used(most: int, seconds: dict[int, float], best: int) -> None:
    run = Simulated(most, jagged({threads: each / 1000 for threads, each in seconds.items()}))
    run.until(18)
    found = run.until(22)
    assert set(found) == {best}


def test_stalls_count() -> None:
    """Steps by one thread are faster but for those that wait long for a neighbour."""
    steps = [0]

    def took(threads: int, _: float) -> float:
        steps[0] += threads == 1
        return 0.001 if threads == 2 else 0.04 if steps[0] % 75 == 0 else 0.0009

    run = Simulated(2, took)
    run.until(13)
    assert set(run.until(20)) == {2}


def test_one_neighbour_that_comes_for_a_moment_changes_nothing() -> None:
    """All in all steps by two threads took more time, but only while one was away."""
    run = Simulated(2, lambda threads, now: 0.1 if threads == 2 and 10.5 < now < 10.9 else 0.001)
    found = run.until(20)
    assert found[2] > 0.9 * found.total()


def test_what_may_be_noise_changes_nothing() -> None:
    run = Simulated(2, lambda threads, _: 0.002 if threads == 2 else 0.00195)
    run.until(13)
    assert set(run.until(20)) == {2}


def test_nothing_is_tried_in_short_runs_and_soon_after_a_choice() -> None:
    run = Simulated(2, lambda threads, _: 0.01)
    assert set(run.until(module.PAUSE)) == {2}
    assert 1 in run.until(12)
    run.until(13)
    assert set(run.until(22)) == {2}


def test_neighbours_come_and_go() -> None:
    def took(threads: int, now: float) -> float:
        return 0.0011 if threads == 1 else 0.002 if 20 < now < 120 else 0.001

    run = Simulated(2, took)
    assert set(run.until(10)) == {2}
    for end, most in ((60, None), (120, 1), (190, None), (260, 2)):
        found = run.until(end)
        assert most is None or found[most] > 0.9 * found.total()


@pytest.mark.parametrize("one", [0.7, 1.1, 1.5, 2.0])
@pytest.mark.parametrize("step", [0.001, 0.005, 0.5])
def test_what_trying_costs(one: float, step: float) -> None:
    """Half a percent over a long run, and the first trial, half of it by the other number."""
    run = Simulated(2, lambda threads, _: step * (one if threads == 1 else 1))
    end = 1000 * max(step, 0.1)
    found = run.until(end)
    lost = end - step * min(one, 1) * found.total()
    tried = module.ROUNDS * max(module.BLOCK_STEPS * step, module.BLOCK_SECONDS)
    assert lost < module.TRYING * end + abs(one - 1) * (tried + module.PAUSE * (one < 1)) + 0.001 * end


def test_steps_that_fail_are_not_counted() -> None:
    run = Simulated(2, lambda threads, _: 0.001)
    with pytest.raises(KeyError), run.choice:
        run.now += 100
        raise KeyError
    assert run.used == 0
    assert set(run.until(run.now + 9)) == {2}


def test_only_where_there_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    def chooses(engine: str = "onnx", threads: int | None = None) -> bool:
        return not isinstance(thread_choice(engine, threads), nullcontext)

    monkeypatch.setattr(module, "cores", lambda: 2)
    monkeypatch.setattr(vflc_kernels, "why_not", lambda: "")
    assert chooses()
    assert not chooses(threads=2), "users have chosen"
    assert not chooses(engine="keras")
    with monkeypatch.context() as alone:
        alone.setattr(module, "cores", lambda: 1)
        assert not chooses()
    monkeypatch.setattr(vflc_kernels, "why_not", lambda: "VFLC_KERNELS is off")
    assert not chooses()


def test_what_was_found_is_logged(caplog: Any) -> None:
    run = Simulated(2, lambda threads, _: 0.002 if threads == 2 else 0.001)
    with caplog.at_level("DEBUG", "vflc_runtime.threads"):
        run.until(12)
    assert caplog.messages == ["a step takes 2 ms by 2 threads, 1 by 1", "1 of 2 threads are used"]
