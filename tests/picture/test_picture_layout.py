"""Pictures of any size: nothing overlaps, no text runs out of its box, and all of it is quick."""

import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture.drawn import faults, random_sketch

from vflc.picture.coordinates import nearest
from vflc.picture.folding import MOST, diagram, folded_by_default
from vflc.picture.layout import lay_out
from vflc.picture.letters import shortened, visible, width
from vflc.picture.ranks import without_cycles


@pytest.mark.parametrize("count", [1, 10, 30, 100, 300])
@pytest.mark.parametrize("places", [1, 2, 5])
def test_nothing_overlaps(count: int, places: int) -> None:
    for seed in range(3 if count < 300 else 1):
        sketch = random_sketch(seed, count, places)
        blocks = sorted({block for value in sketch.values for block in value.blocks})
        for folded in (None, frozenset(), frozenset(blocks), frozenset(blocks[::2])):
            drawn = lay_out(diagram(sketch, folded))
            assert faults(drawn) == []
            assert len(drawn.arrows) == len(drawn.diagram.arrows)


def test_every_value_and_all_that_crosses_is_in_one_box() -> None:
    sketch = random_sketch(7, 120, 3)
    drawn = diagram(sketch, frozenset())
    assert sorted(box.name for box in drawn.boxes if box.to is None) == sorted(
        value.id for value in sketch.values
    )
    told = "\n".join(line for box in drawn.boxes if box.to is not None for line in box.told)
    assert all(f"{each.name} {each.shape}" in told for each in sketch.crossings)


def test_by_default_few_boxes_are_drawn() -> None:
    sketch = random_sketch(1, 300, 2)
    drawn = diagram(sketch)
    all_folded = diagram(sketch, drawn.blocks)
    count = sum(box.to is None for box in drawn.boxes)
    assert sum(box.to is None for box in all_folded.boxes) <= count <= max(MOST, len(all_folded.boxes))
    assert folded_by_default(sketch, most=10_000) == frozenset()


def test_three_hundred_values_take_a_million_calls() -> None:
    """A quarter of a second on an idle machine: steps are counted, as seconds tell of others at work."""

    def calls(count: int) -> int:
        sketch, found = random_sketch(5, count, 5), 0

        def seen(frame: object, event: str, argument: object) -> None:
            nonlocal found
            found += event == "call"

        sys.setprofile(seen)
        try:
            lay_out(diagram(sketch, frozenset()))
        finally:
            sys.setprofile(None)
        return found

    assert calls(300) < min(1_000_000, 8 * calls(75))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12))))
@settings(max_examples=60, deadline=None)
def test_cycles_are_broken(arcs: list[tuple[int, int]]) -> None:
    kept, turned = without_cycles(13, arcs)
    assert {frozenset(arc) for arc in kept} == {frozenset(arc) for arc in arcs if arc[0] != arc[1]}
    assert turned <= {(b, a) for a, b in arcs}
    waiting = set(range(13))
    while waiting:  # some box always comes next
        ready = {
            box for box in waiting if not any(source in waiting for source, target in kept if target == box)
        }
        assert ready
        waiting -= ready


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 5)), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_nearest_positions_keep_their_distance_and_no_others_are_nearer(
    wanted: list[tuple[float, float]],
) -> None:
    values, weights = [list(each) for each in zip(*wanted, strict=True)]
    apart = [10.0] * (len(values) - 1)
    found = nearest(values, weights, apart)
    assert all(b - a >= 10 - 1e-6 for a, b in pairwise(found))

    def cost(at: list[float]) -> float:
        return sum(weight * (x - value) ** 2 for x, value, weight in zip(at, values, weights, strict=True))

    for index in range(len(found)):
        for step in (-0.01, 0.01):
            for until in range(index + 1, len(found) + 1):
                moved = [x + step if index <= n < until else x for n, x in enumerate(found)]
                if all(b - a >= 10 - 1e-6 for a, b in pairwise(moved)):
                    assert cost(moved) >= cost(found) - 1e-6


@pytest.mark.parametrize(
    "text", ["plain", "x" * 10_000, "\u202eevil", "漢字" * 30, "a\tb\nc", "\x00\ud800"], ids=range(6)
)
def test_text_is_seen_and_fits(text: str) -> None:
    shown = shortened(visible(text), 100, 12)
    assert shown.isprintable() and width(shown, 12) <= 100
    assert not set(shown) & {"\u202e", "\n", "\x00"}
