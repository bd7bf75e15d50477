"""A peer that does not follow the protocol ends the run with a diagnostic; nothing else comes of it."""

import random
import sys
import threading
import time

import pyarrow as pa
import pytest
from aligning import SHARED, together
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_common.control import ALIGN_COMMON, ALIGNING, HASH
from vflc_runtime.alignment import exchange, handshake, hub
from vflc_runtime.alignment.align import align
from vflc_runtime.alignment.settings import ROWS, AlignSettings, read_key
from vflc_runtime.errors import PEER, Failure

TABLES = {"alice": ["a", "b", "c", "d"], "bob": ["b", "c", "d", "e", "f"]}
HASHED = (("align.hello", "bob"), ("align.hashes", "alice"), ("align.common", "bob"), ("align.count", "bob"))
PRIVATE = (
    ("align.turn", "bob"), ("align.setup", "alice"), ("align.request", "bob"), ("align.response", "alice"),
    ("align.common", "bob"), ("align.count", "bob"), ("align.check", "alice"),
)  # fmt: skip
POINTS = ("align.setup", "align.request", "align.response")
CHANGES = {
    "empty": lambda payload: b"",
    "shorter": lambda payload: payload[:-1],
    "ones": lambda payload: b"\xff" * len(payload),
    "turned": lambda payload: payload[::-1],
    "random": lambda payload: random.Random(7).randbytes(len(payload)),
}


def descending(hashes):
    """A few hashes that are turned by their bytes may ascend by chance, and bob may send such a message."""
    return b"".join(hashes[at : at + HASH] for at in reversed(range(0, len(hashes), HASH)))


def changed(kind, change):
    return lambda sender, heard, payload: change(payload) if heard == kind else payload


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("method", "kind", "victim"),
    [("hash", *each) for each in HASHED] + [("psi", *each) for each in PRIVATE],
)
def test_a_message_that_cannot_be(method, kind, victim, change):
    wrong = descending if (kind, change) == ("align.hashes", "turned") else CHANGES[change]
    ended = together(method, TABLES, change={victim: changed(kind, wrong)})
    error = ended.results[victim]
    assert isinstance(error, Failure) and error.exit_code == PEER, error
    assert error.code in ("VFL0660", "VFL0662", "VFL0664")


@pytest.mark.parametrize(("kind", "victim"), [each for each in PRIVATE if each[0] in POINTS])
def test_points_of_other_keys_make_no_row_common(kind, victim):
    """A party may lie about its own keys; what comes of it are rows that are common, or none."""

    def first_half_twice(points):
        half = len(points) // 66 * 33
        return (points[:half] * 3)[: len(points)]

    ended = together("psi", TABLES, change={victim: changed(kind, first_half_twice)})
    for place, result in ended.results.items():
        if isinstance(result, list):
            assert {TABLES[place][row] for row in result} < {"b", "c", "d"}
        else:
            assert ended.codes[place] in ("VFL0606", "VFL0662", "Ended")


@pytest.mark.parametrize("count", [5, 1 << 40])
@pytest.mark.parametrize("kind", ["align.turn", "align.count"])
def test_more_keys_than_can_be(kind, count):
    lie = {"bob": changed(kind, lambda _: count.to_bytes(8, "big"))}
    error = together("psi", TABLES, change=lie).results["bob"]
    assert error.code == "VFL0662" and f"is {count}, which is more than 4" in error.message


def test_a_hub_that_says_that_nothing_is_common():
    lie = {"bob": changed("align.count", lambda _: bytes(8))}
    assert together("psi", TABLES, change=lie).codes["bob"] == "VFL0606"


@pytest.mark.parametrize(
    ("rows", "code"), [(0, "VFL0662"), (ROWS, "Ended"), (ROWS + 1, "VFL0667"), (1 << 40, "VFL0667")]
)
def test_a_number_of_rows_that_cannot_be(rows, code):
    lie = {"bob": changed("align.hello", lambda hello: hello[:4] + rows.to_bytes(8, "big") + hello[12:])}
    ended = together("aligned", TABLES, change=lie)
    assert ended.codes["bob"] == ("VFL0661" if code == "Ended" else code)
    assert code != "VFL0667" or ended.results["bob"].message.startswith(f"alice says it has {rows:,} rows")


@pytest.mark.parametrize(
    "change",
    [lambda each: each[:33] + each[:33] + each[66:], lambda each: each[:-33] + b"\4" + each[-32:]],
    ids=["twice", "of another form"],
)
def test_a_point_that_no_party_sends(change):
    error = together("psi", TABLES, change={"alice": changed("align.setup", change)}).results["alice"]
    assert error.code == "VFL0662" and "has duplicates, or has bytes that are not points" in error.message


def test_another_version_is_named():
    lie = {"bob": changed("align.hello", lambda hello: bytes([hello[0] + 1]) + hello[1:])}
    error = together("hash", TABLES, change=lie).results["bob"]
    assert error.code == "VFL0660" and "the version of the alignment is 1 at bob and 2" in error.message


def test_who_echoes_a_proof_does_not_have_the_key():
    """alice hears her own proof again: of a party that has another key, and sends back what it is sent."""
    told = []

    def keep(network):
        tell = network.tell

        def kept(receiver, kind, payload):
            told.append((kind, payload))
            tell(receiver, kind, payload)

        network.tell = kept

    def echo(sender, kind, payload):
        return next(own for named, own in told if named == kind) if kind == "align.check" else payload

    other = {"bob": AlignSettings(key=b"another key than theirs", threads=1)}
    ended = together("hash", TABLES, settings=other, prepare={"alice": keep}, change={"alice": echo})
    assert ended.codes["alice"] == "VFL0664"


def test_no_points_are_asked_for_where_keys_are_hashed():
    lie = {"alice": changed("align.turn", lambda _: (3).to_bytes(8, "big"))}
    error = together("hash", TABLES, settings={}, change=lie | {"bob": lie["alice"]})
    assert "VFL0662" in error.codes.values()


def test_no_more_keys_are_common_than_the_hub_has():
    """bob has five keys and the hub, as it says, four: it cannot have five in common with him."""
    hub = AlignSettings(key=SHARED, hub="alice")
    lie = {"bob": changed("align.count", lambda _: (5).to_bytes(8, "big"))}
    error = together("hash", TABLES, settings=dict.fromkeys(TABLES, hub), change=lie).results["bob"]
    assert error.code == "VFL0662" and "is 5, which is more than 4" in error.message


def test_no_more_rows_than_a_party_takes():
    few = AlignSettings(key=SHARED, rows=4)
    ended = together("hash", TABLES, settings={"alice": few})
    assert ended.codes["alice"] == "VFL0667" and ended.results["alice"].exit_code == PEER
    ended = together("hash", TABLES, settings={"bob": few})
    assert ended.codes["bob"] == "VFL0667", "its own are too many as well"
    enough = AlignSettings(key=SHARED, rows=5)
    assert together("hash", TABLES, settings=dict.fromkeys(TABLES, enough)).codes == dict.fromkeys(
        TABLES, "list"
    )


def left():
    """An event, and what prepares a network to set it when its place has left."""
    over = threading.Event()

    def prepare(network):
        close = network.close

        def closing(reason="done"):
            close(reason)
            over.set()

        network.close = closing

    return over, prepare


def test_what_is_left_of_an_alignment_is_what_it_has_not_taken(monkeypatch):
    clock = exchange.Clock(3600.0)
    assert 3000 < clock.left("bob") <= 3600
    now = time.monotonic()
    monkeypatch.setattr(exchange.time, "monotonic", lambda: now + 3700)
    with pytest.raises(Failure, match="has taken longer than 3,600 s, and bob has not finished"):
        clock.left("bob")


def test_an_alignment_has_a_minute_and_a_thousandth_of_a_second_for_each_row(monkeypatch):
    given = []

    class Noted(exchange.Clock):
        def __init__(self, seconds):
            given.append(seconds)
            super().__init__(seconds)

    monkeypatch.setattr(handshake, "Clock", Noted)
    together("hash", TABLES)
    assert given == [pytest.approx(60.009)] * 2


@pytest.mark.parametrize("numbers", [[1, 2, 3], [1, 3, 2], [2, 1, 3], [1, 1, 2], [1, 2, 2]])
def test_hashes_come_in_ascending_order(numbers):
    hashes = [bytes([number]) * HASH for number in numbers]
    link = exchange.PeerExchange("bob", 3, Said(b"".join(hashes)), exchange.Clock(60))
    if numbers == sorted(set(numbers)):
        assert hub._hear_hashes(link, ALIGN_COMMON, 3).tolist() == hashes
    else:
        with pytest.raises(Failure, match="is not sorted, or has duplicates"):
            hub._hear_hashes(link, ALIGN_COMMON, 3)


class Said:
    """A connection on which one message has come."""

    def __init__(self, payload):
        self.payload = payload

    def hear(self, sender, kind, limit, timeout=None):
        return self.payload


def test_what_another_version_names_is_unknown():
    assert [handshake._named(("hash", "psi"), index) for index in range(4)] == [
        "hash",
        "psi",
        "unknown",
        "unknown",
    ]


def test_a_peer_that_stalls_is_not_waited_for_longer_than_its_rows_take(monkeypatch):
    """Its link is alive, and every word would come within the network's own timeout."""
    monkeypatch.setattr(handshake, "_LEAST", 0.5)

    over, at_end = left()

    def late(sender, kind, payload):
        if kind == "align.hello":
            assert over.wait(120)
        return payload

    ended = together("hash", TABLES, change={"alice": late}, prepare={"bob": at_end})
    error = ended.results["bob"]
    assert error.code == "VFL0668" and error.exit_code == PEER
    assert "longer than 1 s, and alice has not finished" in error.message


def test_a_peer_that_reads_for_ever_is_waited_for_as_long_as_is_set():
    over, at_end = left()
    settings = {"bob": AlignSettings(key=SHARED, reading=0.4)}
    late = {"alice": lambda network: over.wait(120)}
    ended = together("hash", TABLES, settings=settings, prepare={"bob": at_end}, before=late)
    error = ended.results["bob"]
    assert error.code == "VFL0641" and "'align.hello' within " in error.message


def test_a_hub_that_hides_a_row_is_found_out():
    """carol is told of one row less than bob: the two then hold different digests."""
    tables = {**TABLES, "carol": ["d", "c", "b", "x", "y"]}

    def hide(exchange):
        whole = exchange.tell

        def tell(receiver, kind, payload):
            if receiver == "carol" and kind == "align.count":
                payload = (2).to_bytes(8, "big")
            if receiver == "carol" and kind == "align.common":
                payload = payload[16:]
            whole(receiver, kind, payload)

        exchange.tell = tell

    ended = together("psi", tables, prepare={"alice": hide})
    assert set(ended.codes.values()) <= {"VFL0662", "Ended"} and "VFL0662" in ended.codes.values()


NAMES = st.sampled_from([kind.name for kind in ALIGNING])


@settings(max_examples=40, deadline=None)
@given(NAMES, st.binary(max_size=80), st.sampled_from(list(TABLES)))
def test_any_bytes_at_all(kind, noise, victim):
    for method in ("hash", "psi"):
        ended = together(method, TABLES, change={victim: changed(kind, lambda _: noise)})
        for result in ended.results.values():
            assert isinstance(result, list) or type(result).__name__ in ("Failure", "Ended"), result


def test_parties_that_mean_different_things():
    ended = together("psi", TABLES, methods={"alice": "hash"})
    assert set(ended.codes.values()) == {"VFL0660"}
    hubs = {"alice": AlignSettings(hub="alice"), "bob": AlignSettings(hub="bob")}
    codes = together("psi", TABLES, hubs)
    assert set(codes.codes.values()) == {"VFL0660"}
    shown = next(e for e in codes.results.values() if isinstance(e, Failure)).message
    assert "alice at alice and bob at bob" in shown or "bob at bob and alice at alice" in shown


def test_shared_keys_that_differ():
    keys = {"alice": AlignSettings(key=SHARED), "bob": AlignSettings(key=SHARED + b"!")}
    ended = together("hash", TABLES, keys)
    assert set(ended.codes.values()) == {"VFL0664"}
    told = [payload for heard in ended.heard.values() for each in heard.values() for payload in each]
    assert not any(SHARED in payload for payload in told)


def test_tables_that_are_not_aligned():
    for bob in (["a", "b", "c"], ["a", "b", "c", "e"]):
        ended = together("aligned", {"alice": ["a", "b", "c", "d"], "bob": bob})
        assert set(ended.codes.values()) == {"VFL0661"}


@pytest.mark.parametrize("method", ["hash", "psi"])
def test_no_key_in_common_is_told_without_one(method):
    ended = together(method, {"alice": ["secret1"], "bob": ["secret2"], "carol": ["secret1"]})
    assert set(ended.codes.values()) == {"VFL0606"}
    assert not any("secret" in str(error) for error in ended.results.values())


def refused(method, chosen, keys=("a",)):
    with pytest.raises(Failure) as caught:
        align(method, "alice", ["bob"], pa.array(keys), None, chosen)
    return caught.value.code


def test_settings_are_checked_before_anything_is_said(tmp_path, monkeypatch):
    assert refused("nearly", AlignSettings()) == "VFL0666"
    assert refused("psi", AlignSettings(hub="carol")) == "VFL0666"
    assert refused("hash", AlignSettings()) == "VFL0663"
    monkeypatch.setitem(sys.modules, "private_set_intersection.python", None)
    assert refused("psi", AlignSettings()) == "VFL0665"


def test_a_shared_key_in_a_file(tmp_path):
    path = tmp_path / "shared.key"
    with pytest.raises(Failure, match=r"VFL0663: .*shared\.key cannot be read: No such file or directory"):
        read_key(path)
    path.write_bytes(b"0123456789abcdef\r\n")
    path.chmod(0o644)
    with pytest.raises(Failure, match=r"VFL0659: .*shared\.key must be secret"):
        read_key(path)
    path.chmod(0o600)
    assert read_key(path) == b"0123456789abcdef"
    assert "0123456789abcdef" not in repr(AlignSettings(key=read_key(path)))
    for content in (b"0123456789abcde\n", b"   \n"):
        path.write_bytes(content)
        with pytest.raises(Failure, match="VFL0663"):
            read_key(path)
    for wrong in (tmp_path / "none.key", tmp_path):
        with pytest.raises(Failure, match="VFL0663"):
            read_key(wrong)
