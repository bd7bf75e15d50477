"""What each party hears is the intersection and no more, as docs/alignment.md says method by method."""

import hashlib
import struct

import pyarrow as pa
import pytest
from aligning import SHARED, together
from vflc_common.control import HASH, POINT
from vflc_runtime.alignment.keys import SortedKeys

TABLES = {
    "alice": [f"user {n}" for n in range(40)],
    "bob": [f"user {n}" for n in range(10, 45)],
    "carol": [f"user {n}" for n in range(20, 65)],
}
COMMON = [f"user {n}" for n in range(20, 40)]
HUB = "bob"  # it has the fewest rows
TWO = {place: TABLES[place] for place in ("alice", "bob")}


def salt_of(ended, place, tables):
    """As a curious party can compute it from what it said and heard itself."""
    own = {heard[place, "align.hello"][0] for name, heard in ended.heard.items() if name != place}
    assert len(own) == 1, "a party says the same to all"
    nonces = {place: own.pop()[12:44]}
    nonces |= {p: ended.heard[place][p, "align.hello"][0][12:44] for p in tables if p != place}
    return hashlib.sha256(b"".join(nonces[p] for p in sorted(tables))).digest()


def hashes(place, keys, key):
    found = SortedKeys(place, pa.array(sorted(keys))).hashes(key).tobytes()
    return {found[i : i + HASH] for i in range(0, len(found), HASH)}


def pieces(ended, place, kind, width):
    """All that a party heard of a kind, in pieces."""
    whole = b"".join(b"".join(payloads) for (_, k), payloads in ended.heard[place].items() if k == kind)
    return {whole[i : i + width] for i in range(0, len(whole), width)}


@pytest.mark.parametrize("method", ["hash", "psi"])
@pytest.mark.parametrize("tables", [TWO, TABLES])
def test_who_is_not_the_hub_can_test_no_key_that_is_not_common(method, tables):
    ended = together(method, tables)
    common = set.intersection(*map(set, tables.values()))
    foreign = set.union(*map(set, tables.values())) - common
    for place in tables:
        salt = salt_of(ended, place, tables)
        said = b"\0".join(payload for payloads in ended.heard[place].values() for payload in payloads)
        assert b"user" not in said
        if place == HUB:
            assert not pieces(ended, place, "align.common", HASH)
            continue
        assert pieces(ended, place, "align.common", HASH) == hashes(place, common, salt)
        for keyed in (salt, SHARED, SHARED + salt):
            assert not any(guess in said for guess in hashes(place, foreign, keyed))
        assert not pieces(ended, place, "align.hashes", HASH)
        assert not pieces(ended, place, "align.setup", POINT)


def test_by_hash_the_hub_can_test_any_guess_with_the_shared_key_and_nobody_without():
    ended = together("hash", TABLES)
    heard = pieces(ended, HUB, "align.hashes", HASH)
    salt = salt_of(ended, HUB, TABLES)
    assert hashes(HUB, set(TABLES["carol"]) | set(TABLES["alice"]), SHARED + salt) == heard
    assert not hashes(HUB, TABLES["carol"], salt) & heard
    assert not hashes(HUB, TABLES["carol"], SHARED) & heard, "equal keys differ from run to run"


def test_by_hash_nothing_that_is_said_can_be_said_again():
    """Neither the proof of having the shared key nor a hash is the same in another run."""
    first, second = together("hash", TABLES), together("hash", TABLES)
    for place in TABLES:
        for sender in set(TABLES) - {place}:
            for kind in ("align.hello", "align.check", "align.hashes", "align.common"):
                before, now = first.heard[place][sender, kind], second.heard[place][sender, kind]
                assert len(before) == len(now) and not set(before) & set(now), kind


def test_by_psi_points_are_under_secrets_that_are_new_for_every_peer_and_every_run():
    """A point that a party hears is comparable with none that it could make of a guessed key."""
    first, second = together("psi", TABLES), together("psi", TABLES)
    seen = []
    for ended in (first, second):
        for place in TABLES:
            for kind in ("align.setup", "align.request", "align.response"):
                for sender in TABLES:
                    whole = b"".join(ended.heard[place][sender, kind])
                    seen.append({whole[i : i + POINT] for i in range(0, len(whole), POINT)})
    assert sum(map(len, seen)) == len(set.union(*seen)), "no point is heard twice, though most keys are"
    assert {point[0] for points in seen for point in points} == {2, 3}


def test_by_psi_points_come_in_an_order_that_says_nothing_of_their_keys():
    ended = together("psi", TWO)
    for place, sender, kind in ((HUB, "alice", "align.setup"), ("alice", HUB, "align.request")):
        whole = b"".join(ended.heard[place][sender, kind])
        points = [whole[i : i + POINT] for i in range(0, len(whole), POINT)]
        assert points == sorted(points) and len(points) == len(TABLES[sender])


def test_by_psi_a_partner_learns_how_many_keys_are_left_and_the_hub_the_pairwise_overlap():
    ended = together("psi", TABLES)
    turns = {p: int.from_bytes(ended.heard[p][HUB, "align.turn"][0], "big") for p in ("alice", "carol")}
    assert turns == {"alice": len(TABLES[HUB]), "carol": len(set(TABLES[HUB]) & set(TABLES["alice"]))}
    assert turns["alice"] == 35 and turns["carol"] == 30


@pytest.mark.parametrize("tables", [TWO, TABLES])
def test_aligned_tells_the_number_of_rows_and_a_salted_digest(tables):
    same = dict.fromkeys(tables, COMMON)
    ended = together("aligned", same)
    for place in tables:
        kinds = {kind for _, kind in ended.heard[place]}
        assert kinds == {"align.hello", "align.check"}
        digests = {ended.heard[place][p, "align.check"][0] for p in tables if p != place}
        assert len(digests) == 1 and len(next(iter(digests))) == 32
    again = together("aligned", same)
    assert again.heard["bob"]["alice", "align.check"] != ended.heard["bob"]["alice", "align.check"]


def test_a_hello_tells_the_number_of_rows():
    ended = together("psi", TWO)
    version, method, hub, rows = struct.unpack(">BBHQ", ended.heard["bob"]["alice", "align.hello"][0][:12])
    assert (version, method, hub, rows) == (1, 2, 0xFFFF, 40)
