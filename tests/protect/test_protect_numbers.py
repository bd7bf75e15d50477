"""Random numbers, packed numbers and accounts to the last bit: against plain loops over one number each."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from vflc_runtime.bundle.packing import Packing
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.protect import replay
from vflc_runtime.protect.account import Facts, calibrate, epsilon_of, spent
from vflc_runtime.protect.noise import SUMMANDS, Noise
from vflc_runtime.protect.replay import RECORD, NoiseReplay, Sent, noise_from
from vflc_runtime.protect.wire import pack, unpack

# --- random numbers -----------------------------------------------------------------------------------


class Words:
    """A source of given words, as bytes; keeps how many were asked for."""

    def __init__(self, *words: int) -> None:
        self._words, self.asked = itertools.cycle(words), list[int]()

    def __call__(self, count: int) -> bytes:
        self.asked.append(count)
        return b"".join(next(self._words).to_bytes(8, "little") for _ in range(count // 8))


def test_uniform_numbers_are_above_0_and_up_to_1() -> None:
    source = Words(0, 2**64 - 1, 1 << 11, (1 << 11) - 1, 1 << 63)
    found = Noise(source).uniform(5).tolist()
    assert found == [2.0**-53, 1.0, 2.0**-52, 2.0**-53, 0.5 + 2.0**-53] and source.asked == [40]


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 3), (0,), (5, 1)])
def test_a_normal_number_is_a_sum_of_four(shape: tuple[int, ...]) -> None:
    """By Box and Muller: the radius of one uniform number, at the angle of another."""
    count, random = math.prod(shape), np.random.default_rng(0)
    words = [int(each) for each in random.integers(0, 2**63, max(8 * count, 1))]
    assert SUMMANDS == 4
    source = Words(*words)
    found = Noise(source).normal(shape)
    assert found.shape == shape and source.asked == [16 * count, 16 * count], "two numbers of a pair"
    uniform = [((word >> 11) + 1) / 2**53 for word in words]
    radius = [math.sqrt(-2 * math.log(u)) for u in uniform[: 2 * count]]
    angle = [2 * math.pi * u for u in uniform[2 * count : 4 * count]]
    parts = [r * math.cos(a) for r, a in zip(radius, angle, strict=True)]
    parts += [r * math.sin(a) for r, a in zip(radius, angle, strict=True)] if count else []
    wanted = [sum(parts[i + count * part] for part in range(4)) / 2 for i in range(count)]
    np.testing.assert_allclose(found.reshape(-1), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_shift_is_none_or_one_of_the_others(classes: int) -> None:
    """Moved above `keep`, not at it; each other class has as much of the second number."""
    keep = 0.75

    def word(uniform: float) -> int:
        return (round(uniform * 2**53) - 1) << 11

    firsts = [keep, keep + 2.0**-53, 1.0, 2.0**-53, 0.9, 0.76]
    seconds = [1.0, 2.0**-53, 1.0, 1.0, 0.5, 1 / (classes - 1) + 2.0**-40 if classes > 2 else 0.5]
    found = Noise(Words(*map(word, firsts + seconds))).shifts(6, keep, classes).tolist()
    wanted = [
        0 if first <= keep else 1 + min(int(second * (classes - 1)), classes - 2)
        for first, second in zip(firsts, seconds, strict=True)
    ]
    assert found == wanted and found[2] == classes - 1 and found[1] == 1 and found[0] == found[3] == 0


# --- packed numbers -----------------------------------------------------------------------------------


def bits_of(codes: list[int], bits: int) -> bytes:
    text = "".join(format(code, f"0{bits}b") for code in codes)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


@pytest.mark.parametrize("bits", [2, 3, 8, 11, 16])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_row_on_a_grid_is_its_largest_magnitude_and_codes(bits: int, precision: str) -> None:
    packing = Packing("quantize", (2, 2), {"bits": bits})
    levels = 2 ** (bits - 1) - 1
    whole = np.array([[levels, -levels, 0, levels // 2], [0, 0, 0, 0], [-levels, 1 % levels, 0, -levels]])
    tops = np.array([[3.0], [0.0], [0.5]], precision)
    rows = (tops * (whole.astype(precision) / np.asarray(levels, precision))).reshape(3, 2, 2)
    sent = pack(packing, rows)
    size = np.dtype(precision).itemsize
    assert sent.dtype == np.uint8 and sent.shape == (3, size + -(-4 * bits // 8))
    for row, top, codes in zip(sent, tops, whole.tolist(), strict=True):
        assert row[:size].tobytes() == top.tobytes()
        assert row[size:].tobytes() == bits_of([code + levels for code in codes], bits)
    assert np.array_equal(unpack("e", packing, sent, precision), rows)
    beyond = sent.copy()
    beyond[0, size:] = 255
    with pytest.raises(Failure, match=r"VFL0677.*'e' cannot be unpacked: a code beyond the grid") as refused:
        unpack("e", packing, beyond, precision)
    assert refused.value.exit_code == PEER


def test_the_largest_of_a_row_are_positions_and_numbers() -> None:
    packing = Packing("top_k", (5,), {"k": 2})
    rows = np.array([[0, 1.5, 0, 0, -2.5], [0, 0, 0, 0, 0], [7, 0, 0, 0, 0]], np.float32)
    sent = pack(packing, rows)
    assert sent.shape == (3, 2 * (2 + 4))
    for row, places, numbers in zip(
        sent, [[1, 4], [0, 1], [0, 1]], [[1.5, -2.5], [0, 0], [7, 0]], strict=True
    ):
        assert row[:4].view("<u2").tolist() == places and row[4:].copy().view("f4").tolist() == numbers
    assert np.array_equal(unpack("e", packing, sent, "float32"), rows)
    sent[2, 2] = 5
    with pytest.raises(Failure, match="position 5 of 5"):
        unpack("e", packing, sent, "float32")
    sent[2, 2] = 4
    assert unpack("e", packing, sent, "float32")[2].tolist() == [7, 0, 0, 0, 0]


# --- accounts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("releases", [1, 4, 9])
def test_noise_that_is_enough_and_no_more(releases: int) -> None:
    noise = calibrate(2.0, 1e-6, releases, 1e3, None)
    assert spent(noise, 1e-6, releases) == pytest.approx(2.0, rel=1e-5)
    assert noise == pytest.approx(math.sqrt(releases) * calibrate(2.0, 1e-6, 1, 1e3, None))
    assert spent(noise, 1e-6, releases) == pytest.approx(epsilon_of(2 * math.sqrt(releases) / noise, 1e-6))
    assert calibrate(2.0, 1e-6, releases, noise, None) == noise, "the limit itself is allowed"
    with pytest.raises(Failure, match=f"over {releases} messages of a row needs noise of") as refused:
        calibrate(2.0, 1e-6, releases, noise * 0.999, {"line": 3})  # type: ignore[typeddict-item]
    assert refused.value.code == "VFL0673" and refused.value.where == {"line": 3}


# --- noise that is made again ---------------------------------------------------------------------------

FACTS = Facts(rows=10, train_rows=8, batch=4, epochs=3)


class Guarded:
    """What of a guard its noise depends on."""

    def __init__(self, id: str = "g", calibrated: bool = True) -> None:
        self.id, self.calibrated = id, calibrated


def made(at: NoiseReplay, times: int = 0, guard: Any = None) -> bytes:
    return at.noise(guard or Guarded(), times).uniform(4).tobytes()


def test_a_key_gives_a_stream_and_each_part_of_it_once() -> None:
    key = bytes(range(32))
    source = noise_from(key)
    for asked, count in enumerate((3, 1, 3), 1):
        stream = hashlib.shake_256(key + asked.to_bytes(8, "big")).digest(8 * count)
        words = [int.from_bytes(stream[i : i + 8], "little") for i in range(0, 8 * count, 8)]
        assert source.uniform(count).tolist() == [((word >> 11) + 1) / 2**53 for word in words]


def test_noise_depends_on_all_that_was_heard() -> None:
    def at(terms: Any = 1, secret: bytes = bytes(32), **changes: Any) -> bytes:
        one = NoiseReplay(secret, {"terms": terms}, FACTS)
        one.begin(changes.get("program", "train"))
        one.hear(changes.get("edge", "e"), changes.get("values", np.array([[1.0, 2.0]])))
        if changes.get("twice"):
            one.finish()
            one.begin("train")
        return made(one, changes.get("times", 0), Guarded(changes.get("guard", "g")))

    others = [
        at(terms=2), at(secret=bytes(31) + b"1"), at(program="evaluate"), at(edge="f"), at(times=1),
        at(guard="h"), at(values=np.array([1.0, 2.0])), at(values=np.array([[1.0, 2.0]], "f4")),
        at(values=np.array([[1.0, 2.5]])), at(twice=True),
    ]  # fmt: skip
    assert at() == at() and len({at(), *others}) == 1 + len(others)
    assert at(values=np.asfortranarray([[1.0, 2.0], [3.0, 4.0]])) == at(
        values=np.array([[1.0, 2.0], [3.0, 4.0]])
    )


def test_a_program_that_did_not_end_is_forgotten() -> None:
    one, other = (NoiseReplay(bytes(32), {}, FACTS) for _ in range(2))
    one.begin("train")
    one.hear("e", np.ones(2))
    for each in (one, other):
        each.begin("train")
        each.hear("e", np.zeros(2))
        each.finish()
    assert one.chain == other.chain and len(one.chain) == 32 and one.chain != bytes(32)
    again = NoiseReplay(bytes(32), {}, FACTS)
    again.resume(one.chain, 1)
    for each in (one, again):
        each.begin("train")
    assert made(one) == made(again)


def test_what_is_charged_is_charged_once_an_epoch(tmp_path: Any) -> None:
    """A step is in the epoch that it begins or goes on with: two steps are an epoch here."""
    path, charged = tmp_path / "n.sent", list[str]()
    Sent.create(path)

    def run(salt: float, steps: int, guard: Any = None, program: str = "train") -> None:
        sent, at = Sent(path), NoiseReplay(bytes(32), {}, FACTS)
        at.watch(sent, charged.append)
        for _ in range(steps):
            at.begin(program)
            at.hear("e", np.array([salt]))
            made(at, 0, guard)
            at.finish()
        sent.close()

    run(1.0, 6)
    run(1.0, 6)
    assert charged == [], "the same again"
    run(2.0, 5)
    assert charged == ["g"] * 3, "in each of three epochs"
    run(3.0, 2, Guarded(calibrated=False))
    assert len(charged) == 3, "what is not counted costs nothing"
    run(1.0, 2, program="evaluate")
    run(1.0, 2, program="evaluate")
    assert len(charged) == 3
    run(2.0, 2, program="evaluate")
    assert len(charged) == 4, "a pass is one epoch"


def test_what_a_file_of_messages_knows(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, message, other = tmp_path / "n.sent", ("train", 1, 0, "g", 0), ("train", 1, 1, "g", 0)
    Sent.create(path)
    sent = Sent(path)
    assert not sent.otherwise(message, b"a"), "of a new file all is known"
    sent.note(message, b"a")
    sent.note(message, b"a")
    assert not sent.otherwise(message, b"a") and sent.otherwise(message, b"b")
    assert not sent.otherwise(other, b"b")
    sent.close()
    size = 2 * RECORD
    content = path.read_bytes()
    assert len(content) == 3 * size and content[:6] == b"opened" and content[-size:][:6] == b"closed"
    which = hashlib.blake2b(json.dumps(message).encode(), digest_size=RECORD).digest()
    assert content[size : size + RECORD] == which
    path.write_bytes(content + b"half a record")
    again = Sent(path)
    assert path.read_bytes()[:-size] == content, "what was half written is cut off"
    assert not again.otherwise(message, b"a") and not again.otherwise(other, b"x")
    with pytest.raises(Failure, match="VFL0628"):
        Sent(path)
    again.close()
    with pytest.raises(Failure, match="VFL0686"):
        Sent(tmp_path / "none.sent")
    monkeypatch.setattr(replay, "_BOOT", tmp_path / "none")
    assert replay._boot() == bytes(RECORD)
