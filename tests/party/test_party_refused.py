"""What parties refuse: other options, other rows, words that make no sense, a wrong deploy.toml."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from partying import TIMEOUT, compiled, exchange, site, together
from specs.examples import prepared, text_of
from vflc_runtime import events
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.data.source import Below
from vflc_runtime.errors import Failure
from vflc_runtime.party.agreement import START, agree_rows, compare
from vflc_runtime.party.align import align_party
from vflc_runtime.party.connect import connector
from vflc_runtime.party.coordinator import PartyCoordinator
from vflc_runtime.party.deploy import Deploy, read_deploy
from vflc_runtime.party.log import Log
from vflc_runtime.party.peers import Peers
from vflc_runtime.party.site import take_part
from vflc_runtime.party.train import train_party
from vflc_runtime.run.train import TrainOptions
from vflc_runtime.run.watchers import TensorBoard

from vflc.cli.main import run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("deepfm", text_of("deepfm", small=True), tmp_path_factory.mktemp("b") / "bundle")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prepared("deepfm", tmp_path_factory.mktemp("data"), "--generate", 300)


@pytest.fixture
def two(bundle: Path) -> dict[str, Peers]:
    """Peers of alice and bob, who are connected."""
    from vflc_runtime.bundle.manifest import read_manifest

    meeting, manifest = exchange(bundle), read_manifest(bundle / "manifest.json")
    networks = {place: meeting.join(place, 3) for place in meeting.places}
    together({place: network.open for place, network in networks.items()})
    return {place: Peers(network, manifest) for place, network in networks.items()}


CHANGES = {
    "epochs": ({"epochs": 9}, "epochs is 5 at 'bob' and 9 at 'alice'"),
    "batch": ({"batch": 64}, "batch is 128 at 'bob' and 64 at 'alice'"),
    "seed": ({"seed": 4}, "seed is 0 at 'bob' and 4 at 'alice'"),
    "steps": ({"steps": 4}, "steps is not set at 'bob' and 4 at 'alice'"),
    "validation": ({"validation": 0.1}, "validation is 0.0 at 'bob' and 0.1 at 'alice'"),
    "checkpoint_steps": ({"checkpoint_steps": 5}, "checkpoint_steps is not set at 'bob' and 5 at 'alice'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_options_are_named_at_both(
    name: str, bundle: Path, sources: dict[str, str], tmp_path: Path
) -> None:
    options, at_bob = CHANGES[name]
    meeting = exchange(bundle)

    def work(place: str) -> Callable[[], Any]:
        here = site(place, sources[place], lambda manifest, rows: meeting.join(place, TIMEOUT))
        given = TrainOptions(**options) if place == "alice" else TrainOptions()
        return lambda: train_party(bundle, here, tmp_path / place, given)

    found = together({place: work(place) for place in sources})
    for failure in found.values():
        assert isinstance(failure, Failure) and (failure.code, failure.exit_code) == ("VFL0650", 3)
    assert found["bob"].message == at_bob
    assert not (tmp_path / "alice").exists() and not (tmp_path / "bob").exists()


def test_tables_of_other_rows_are_refused(bundle: Path, sources: dict[str, str], tmp_path: Path) -> None:
    meeting = exchange(bundle)
    fewer = pq.read_table(sources["alice"]).slice(0, 200)

    def work(place: str, source: Any) -> Callable[[], Any]:
        here = site(place, source, lambda manifest, rows: meeting.join(place, TIMEOUT))
        return lambda: train_party(bundle, here, tmp_path / place, TrainOptions(batch=16))

    found = together({"alice": work("alice", fewer), "bob": work("bob", sources["bob"])})
    assert {failure.code for failure in found.values()} == {"VFL0661"}


def test_rows_and_checkpoints_are_compared(two: dict[str, Peers]) -> None:
    old, new, mine = "step-0000000010-epoch-00001-r", "step-0000000020-epoch-00002-r", "step-0000000030-x"

    def agreed(held: dict[str, list[str]], rows: dict[str, Any]) -> dict[str, Any]:
        works = {
            place: (lambda p=place: agree_rows(two[p], rows[p], held[p], may_start=True)) for place in two
        }
        return together(works)

    rows = {"alice": 9, "bob": 9}
    assert agreed({"alice": [old, new], "bob": [new, mine]}, rows) == dict.fromkeys(two, (9, new, None))
    assert agreed({"alice": [old, new], "bob": [old, new]}, rows) == dict.fromkeys(two, (9, new, None))
    assert agreed({"alice": [new], "bob": []}, rows) == dict.fromkeys(two, (9, START, None))
    assert agreed({"alice": [], "bob": []}, {"alice": None, "bob": 7}) == dict.fromkeys(two, (7, START, None))
    lost = agreed({"alice": [old, new], "bob": []}, rows)
    assert {failure.code for failure in lost.values()} == {"VFL0651"}
    assert "alice has step 10 and step 20" in lost["bob"].message
    other = agreed({"alice": [], "bob": []}, {"alice": 9, "bob": 8})
    assert "rows is 8 at 'bob' and 9 at 'alice'" in other["bob"].message


def nobody(manifest: Any, rows: int) -> Any:
    pytest.fail("it connects")


UNUSABLE = {
    "no file": (lambda folder: str(folder / "none.csv"), "VFL0601"),
    "no such column": (lambda folder: written(folder, "ID,Sex\n1,F\n"), "VFL0602"),
    "no rows": (lambda folder: written(folder, "ID,UserID,Gender,Age,Occupation\n"), "VFL0607"),
    "no text": (lambda folder: written(folder, b"\xff\xfe" * 40), "VFL0601"),
    "another type": (lambda folder: pa.table({"ID": [1], **ALICE, "Age": [[1, 2]]}), "VFL0603"),
    "a query that fails": (lambda folder: "SELECT nothing FROM nowhere", "VFL0601"),
    "no data at all": (lambda folder: None, "VFL0618"),
}
ALICE = {"UserID": ["1"], "Gender": ["F"], "Age": [25], "Occupation": [1]}


def written(folder: Path, content: str | bytes) -> str:
    (folder / "table.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return str(folder / "table.csv")


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_table_that_cannot_be_used_is_found_before_anybody_is_dialled(
    name: str, bundle: Path, tmp_path: Path
) -> None:
    make, code = UNUSABLE[name]
    here = site("alice", make(tmp_path), nobody)
    for work in (
        lambda: train_party(bundle, here, tmp_path / "out", TrainOptions()),
        lambda: align_party(bundle, here),
    ):
        with pytest.raises(Failure) as caught:
            work()
        assert (caught.value.code, caught.value.exit_code) == (code, 1), caught.value
    assert not (tmp_path / "out").exists()


def test_options_of_a_population_are_refused(bundle: Path, tmp_path: Path) -> None:
    here = site("alice", ALICE, nobody)
    with pytest.raises(Failure, match="--rounds does not apply to a model over parties") as refused:
        train_party(bundle, here, tmp_path / "out", TrainOptions(rounds=3))
    assert refused.value.code == "VFL0691" and not (tmp_path / "out").exists()


def test_a_bundle_without_control_messages_is_refused(bundle: Path) -> None:
    opened = open_bundle(bundle, ("alice",))
    older = replace(opened, manifest=replace(opened.manifest, controls=()))
    here = site("alice", "alice.csv", lambda manifest, rows: pytest.fail("it connects"))
    with pytest.raises(Failure, match="declares no control messages"):
        take_part(here, older, 16, lambda peers, rows: None)


WORDS = {
    "hello": [b"", b"[]", b"{", b'{"a": {}}', b"[" * 4000, b"\xff", b'{"version": "1"}'],
    "ready": [
        b"{}",
        b'{"rows": 3}',
        b'{"rows": true, "checkpoints": []}',
        b'{"rows":"x","checkpoints":["a"]}',
    ],
    "saved": [b"", b"1234567"],
    "stop": [b""],
    "best": [b"\3", b""],
    "done": [b"x"],
}


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in WORDS.items() for word in words])
def test_words_that_make_no_sense_are_refused(kind: str, word: bytes, tmp_path: Path) -> None:
    from vflc_runtime.bundle.manifest import read_manifest

    text = text_of("deepfm", small=True).replace("train {", "train {\n  best true", 1)
    folder = compiled("deepfm", text, tmp_path / "bundle")
    meeting, manifest = exchange(folder), read_manifest(folder / "manifest.json")
    alice, bob = (meeting.join(place, 3) for place in ("alice", "bob"))
    together({"alice": alice.open, "bob": bob.open})
    bob.tell("alice", kind, word)
    peers = Peers(alice, manifest)
    coordinator = PartyCoordinator(peers, "", "train")
    coordinator.saved(4)
    hear: dict[str, Callable[[], Any]] = {
        "hello": lambda: compare(peers, {"version": "1"}),
        "ready": lambda: agree_rows(peers, 3, [], may_start=True),
        "saved": coordinator.before_saving,
        "stop": lambda: [coordinator.stop_after(step, True) for step in (1, 2)],
        "best": lambda: coordinator.better(lambda: True),
        "done": coordinator.leave,
    }
    with pytest.raises(Failure) as caught:
        hear[kind]()
    assert caught.value.code in ("VFL0655", "VFL0650") and caught.value.exit_code == 3


def test_words_are_what_they_are_declared_to_be(two: dict[str, Peers]) -> None:
    alice, bob = two["alice"], two["bob"]
    alice.tell_json("hello", {"version": "1", "nonce": "x", "more": 1})
    with pytest.raises(Failure, match="has settings that this version does not know"):
        compare(bob, {"version": "1"})
    alice.tell_json("hello", {"version": {"of": "what"}})
    with pytest.raises(Failure, match="is no object of plain values"):
        bob.hear_json("alice", "hello")
    alice.tell_json("ready", {"rows": True, "checkpoints": ["start"]})
    with pytest.raises(Failure, match="does not say how many rows"):
        agree_rows(bob, None, [], may_start=True)


def test_all_stop_after_the_farthest(two: dict[str, Peers]) -> None:
    alice, bob = (PartyCoordinator(two[place], "", "train") for place in ("alice", "bob"))
    assert not alice.stop_after(5, False)
    assert not bob.stop_after(7, True)
    assert not alice.stop_after(6, False)
    found = together({
        "alice": lambda: [alice.stop_after(step, False) for step in (7, 8)],
        "bob": lambda: [bob.stop_after(8, True)],
    })  # fmt: skip
    assert found == {"alice": [False, True], "bob": [True]}


RIGHT = """
timeout = 5
[parties.alice]
address = "127.0.0.1:7443"
data = "alice.parquet"
[parties.bob]
data = "SELECT * FROM 'bob.csv'"
[align]
method = "psi"
hub = "bob"
"""
WRONG = {
    'timeout = "5"': ("timeout = 5", "timeout must be a number", 2),
    'adress = "127.0.0.1:7443"': ('address = "127.0.0.1:7443"', "no setting 'adress' in [parties.alice]", 4),
    'address = "127.0.0.1"': ('address = "127.0.0.1:7443"', "'127.0.0.1' is not an address", 4),
    'address = "h:70000"': ('address = "127.0.0.1:7443"', "'h:70000' is not an address", 4),
    "[parties.carol]": ("[parties.bob]", "no place 'carol'", 6),
    'method = "magic"': ('method = "psi"', "no method 'magic'", 9),
    'hub = "carol"': ('hub = "bob"', "no place 'carol'", 10),
    'method = "psi"\nrows = 0': ('method = "psi"', "rows must be a whole number", 10),
    'method = "psi"\nreading = "1h"': ('method = "psi"', "reading must be a number", 10),
    "data = 4": ('data = "alice.parquet"', "data must be a text", 5),
    "[parties.alice": ("[parties.alice]", "is not TOML", 3),
    "": ('address = "127.0.0.1:7443"', "neither alice nor bob has an address", 3),
    "[aling]": ("[align]", "no setting 'aling'", 8),
}


def deploy(folder: Path, text: str) -> Deploy:
    (folder / "deploy.toml").write_text(text)
    return read_deploy(folder / "deploy.toml", "alice", ("alice", "bob"))


def test_deploy_is_read(tmp_path: Path) -> None:
    found = deploy(tmp_path, RIGHT)
    assert (found.addresses, found.listen) == ({"alice": "127.0.0.1:7443"}, "127.0.0.1:7443")
    assert (found.data, found.method, found.hub) == (Below(tmp_path, "alice.parquet"), "psi", "bob")
    bob = read_deploy(tmp_path / "deploy.toml", "bob", ("alice", "bob"))
    assert bob.listen is None and bob.data == Below(tmp_path, "SELECT * FROM 'bob.csv'")
    with pytest.raises(Failure, match="names no certificate for alice"):
        connector(found)


@pytest.mark.parametrize("new", WRONG)
def test_a_mistake_in_deploy_is_shown_at_its_line(new: str, tmp_path: Path) -> None:
    old, message, line = WRONG[new]
    with pytest.raises(Failure) as caught:
        deploy(tmp_path, RIGHT.replace(old, new, 1))
    assert caught.value.code == "VFL0654" and message in caught.value.message
    assert caught.value.where is not None and caught.value.where["line"] == line
    with pytest.raises(Failure) as again:  # nor do characters that only Python takes for a line's end move it
        deploy(tmp_path, "# a\u2028b\x85\n" + RIGHT.replace(old, new, 1))
    assert again.value.where == {**caught.value.where, "line": line + 1}


def test_the_command_says_what_is_wrong(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deploy.toml").write_text(RIGHT.replace("address", "adress"))
    given = ["--deploy", str(tmp_path / "deploy.toml"), "--insecure", "--out", str(tmp_path / "out")]
    assert run(["party", "alice", str(bundle), *given]) == 1
    assert "did you mean 'address'?" in capsys.readouterr().err
    assert run(["party", "carol", str(bundle), *given]) == 1
    assert "VFL0618" in capsys.readouterr().err
    assert run(["party", "alice", str(bundle), *given, "--do", "predict"]) in (1, 2)
    for option in ("--data", "--validation-data"):  # as `vflc train` wants it
        assert run(["party", "alice", str(bundle), *given, option, "alice=rows.csv"]) == 2
        assert f"without a name: {option} rows.csv" in capsys.readouterr().err


def test_logs_have_what_a_party_may_know(bundle: Path, sources: dict[str, str], tmp_path: Path) -> None:
    meeting = exchange(bundle)

    def work(place: str) -> Callable[[], Any]:
        def train() -> None:
            with Log(tmp_path / f"{place}.jsonl") as log:
                network = lambda manifest, rows: meeting.join(place, TIMEOUT)  # noqa: E731
                here = replace(site(place, sources[place], network), listen=log)
                train_party(bundle, here, tmp_path / place, TrainOptions(epochs=2, batch=64))

        return train

    assert together({place: work(place) for place in sources}) == dict.fromkeys(sources)
    lines = {p: [json.loads(x) for x in (tmp_path / f"{p}.jsonl").read_text().splitlines()] for p in sources}
    kinds = [line["event"] for line in lines["alice"] if line["event"] != "Progress"]
    assert kinds == ["Started", "Loaded", *(["EpochStarted", "Saved", "EpochEnded"] * 2), "Done"]
    scores = {p: [line["train"] for line in lines[p] if line["event"] == "EpochEnded"] for p in sources}
    assert scores["alice"] == [{}, {}] and all("auc" in found for found in scores["bob"])


SECRET = "SECRET-DIAGNOSIS"


def test_a_log_has_no_values_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    unknown = {"alice.Code": {"unknown": 1, "missing": 0, "examples": [SECRET]}}
    quoted = Failure("VFL0603", f"row 7 holds '{SECRET}'")
    for error in (quoted, ValueError(SECRET)):
        with suppress(Failure, ValueError), Log(path) as log:
            log(events.Loaded(9, {"encoders": unknown}, 0.1))
            raise error
    with suppress(Failure), Log(path):
        raise Failure("VFL0641", "'bob' did not send message 'x'", exit_code=3)
    assert SECRET not in path.read_text() and path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["Started", "Loaded", "Stopped"] * 2 + ["Started", "Stopped"]
    assert lines[1]["report"] == {"encoders": {"alice.Code": {"unknown": 1, "missing": 0}}}
    assert (lines[2]["code"], lines[5]["message"]) == ("VFL0603", "ValueError")
    assert lines[-1]["message"] == "'bob' did not send message 'x'", "the network's are told in full"


def test_a_log_that_cannot_be_written_is_named_before_anybody_waits() -> None:
    with pytest.raises(Failure, match="VFL0612: cannot write /dev/full: No space left"):
        Log(Path("/dev/full"))


def test_a_deploy_is_bounded_before_it_is_parsed(tmp_path: Path) -> None:
    for text, named in (
        ("a" + ".a" * 50_000 + " = 1", "line 1 of "),
        ("\n".join(f"x{number} = 1" for number in range(9000)), "deploy.toml has more than 65,536 bytes"),
    ):
        with pytest.raises(Failure) as caught:
            deploy(tmp_path, text)
        assert caught.value.code == "VFL0654" and named in caught.value.message
    assert deploy(tmp_path, RIGHT + f"# {'x' * 2046}\n").place == "alice"


def test_tensorboard_logs(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with TensorBoard(tmp_path / "logs") as log:
        log(events.EpochStarted(1, 2, 10))
        log(events.Progress(1, 5, 10, 0.5, 100.0))
        log(events.EpochEnded(1, 1.0, {"loss": 0.25}, {"auc": 0.75}, True))
    (file,) = (tmp_path / "logs").iterdir()
    content = file.read_bytes()
    assert b"train/loss" in content and b"validation/auc" in content
