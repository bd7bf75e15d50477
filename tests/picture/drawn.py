"""Random sketches to lay out, and what holds of every picture."""

from itertools import combinations, pairwise
from random import Random

from vflc_common.bound import Bound

from vflc.picture.layout import ABOVE, BESIDE, LINE, LaidOut
from vflc.picture.sketch import CrossingValue, DrawnValue, MayLearn, Sketch, ValueKind, blocks_of


def random_sketch(seed: int, count: int, places: int) -> Sketch:
    """Values of blocks within blocks, at places at random, most of which read some that came before."""
    draw = Random(seed)
    names = [f"party{number}" for number in range(places)]
    ids = [
        f"b{draw.randrange(1 + count // 12)}"
        + "".join(f".part{draw.randrange(3)}" for _ in range(draw.randrange(3)))
        + f".value{number}{'x' * draw.randrange(30)}"
        for number in range(count)
    ]  # fmt: skip
    blocks = blocks_of(ids)
    kinds: tuple[ValueKind, ...] = ("value", "value", "feature", "label", "loss", "weight")
    values = [
        DrawnValue(each, draw.choice(names), draw.choice(kinds), "linear [32]", blocks[each], ("told",))
        for each in ids
    ]
    reads, crossings = [], []
    for number, value in enumerate(values):
        for _ in range(draw.choice([0, 1, 1, 2, 3]) if number else 0):
            other = values[draw.randrange(max(0, number - draw.choice([3, 20, count])), number)]
            reads.append((other.id, value.id))
    for name, place in sorted({(a, values[ids.index(b)].place) for a, b in reads}):
        home = values[ids.index(name)].place
        if home != place:
            learn = (MayLearn(f"{home}.column", Bound("code", 3.0)),)
            crossings.append(CrossingValue(name, name, home, place, "[32]", 128, 0, learn=learn))
            if draw.random() < 0.5:
                gradient = f"{name}.gradient"
                known = ("exact label",)
                crossings.append(
                    CrossingValue(gradient, name, place, home, "[32]", 128, 0, backward=True, known=known)
                )
    return Sketch("random", tuple(names), tuple(values), tuple(dict.fromkeys(reads)), tuple(crossings))


def faults(drawn: LaidOut) -> list[str]:
    """What is wrong with a picture: boxes that overlap, text outside its box, boxes outside the view."""
    found = []
    rows: dict[int, list[int]] = {}
    for number, box in enumerate(drawn.boxes):
        rows.setdefault(box.rank, []).append(number)
        if box.x < 0 or box.y < 0 or box.x + box.width > drawn.width or box.y + box.height > drawn.height:
            found.append(f"{box.box.name} is outside")
        if any(line.width > box.width - 2 * BESIDE + 0.01 for line in box.box.lines):
            found.append(f"the text of {box.box.name} is wider than its box")
        if sum(LINE[line.style] for line in box.box.lines) + 2 * ABOVE > box.height + 0.01:
            found.append(f"the text of {box.box.name} is higher than its box")
        lane = next(lane for lane in drawn.lanes if lane.place == box.box.place)
        inside = lane.x <= box.x and box.x + box.width <= lane.x + lane.width
        beside = all(box.x + box.width <= lane.x or lane.x + lane.width <= box.x for lane in drawn.lanes)
        if not (beside if box.box.to is not None else inside):
            found.append(f"{box.box.name} is in the wrong lane")
    heights = sorted(
        (min(drawn.boxes[n].y for n in row), max(drawn.boxes[n].y + drawn.boxes[n].height for n in row))
        for row in rows.values()
    )
    found += [f"ranks overlap at {low}" for (_, low), (top, _) in pairwise(heights) if top < low]
    for row in rows.values():
        for one, other in combinations(sorted((drawn.boxes[n] for n in row), key=lambda box: box.x), 2):
            if other.x < one.x + one.width:
                found.append(f"{one.box.name} and {other.box.name} overlap")
    return found
