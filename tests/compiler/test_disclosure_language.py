"""`release` and `accept`: every clause and every mistake, and where waivers stand once they are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from granting import granted
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure

from vflc.cli.main import run
from vflc.diagnostics import Diagnostic, SourceText
from vflc.driver import check_source, compile_source
from vflc.syntax.format import format_spec

PARTIES = """
party alice {
  key ID
  feature Age:    float
  feature City:   string -> hash(20)
  feature Gender: string -> vocab("F", "M")
}
party bob {
  key ID
  feature Price: float
  label   liked = Stars > 3
  column  Stars: float
}
party carol {}
block Bottom(fields) {
  e = flatten(embed(fields, dim = 2))
  return {deep = mlp(e, [6]), first = dense(e, 3)}
}
a = Bottom([alice.Age, alice.City])
b = dense(bob.Price, 4)
predict liked = sigmoid(logit) at carol
objective bce(logit, bob.liked)
"""
BARE = PARTIES + "fuse at bob { logit = dense(mlp(concat(a.deep, a.first, b), [5]), 1) }\n"
NONLINEAR = granted(BARE)
"""Nine numbers a row go to bob and come back, and one goes on to carol; all of it is granted."""
RAW = NONLINEAR.replace("concat(a.deep,", "concat(alice.Age, a.deep,")
"""The same, but that a column goes to bob as it is."""
ENDS = PARTIES.replace("party carol {}", "party carol {\n  key ID\n  feature c: float\n}") + (
    "fuse at carol { logit = dense(mlp(concat(a.deep, b, dense(carol.c, 2)), [5]), 1) }\n"
)
"""A party with features holds the end of the model."""


def found(text: str) -> list[Diagnostic]:
    return [d for d in check_source(SourceText("spec.vfl", text)) if d.level == "error"]


def told(text: str) -> list[tuple[str, str]]:
    """Code and marked text of every error."""
    return [(d.code, text[d.span.start : d.span.end]) for d in found(text) if d.span is not None]


def release(party: str, clauses: str) -> str:
    return granted(f"{BARE}release {party} {{ {clauses} }}\n")  # what is denied is not granted


# --- release ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("party", "clause"),
    [
        ("alice", "activations at most 9 floats a row"),
        ("alice", "gradients at most 0 floats a row"),
        ("alice", "only a.deep, a.first"),
        ("alice", "only a"),
        ("alice", "only to bob"),
        ("alice", "only to bob, carol"),
        ("alice", "never Gender"),
        ("bob", "activations at most 1 floats a row"),
        ("bob", "gradients at most 9 floats a row"),
        ("bob", "only logit"),
        ("carol", "only liked"),
    ],
)
def test_what_a_release_allows(party: str, clause: str) -> None:
    assert not found(release(party, clause))


@pytest.mark.parametrize(
    ("party", "clause", "says"),
    [
        ("alice", "activations at most 8 floats a row", ["9 floats a row leave alice as activations"]),
        ("bob", "activations at most 0 floats a row", ["1 floats a row leave bob as activations"]),
        ("bob", "gradients at most 8 floats a row", ["9 floats a row leave bob as gradients"]),
        ("alice", "only a.deep", ["`a.first` leaves alice"]),
        ("alice", "only a.deep, a.first, b", ["`b` is not an edge that leaves alice"]),
        ("alice", "only a, e", ["`e` is not an edge that leaves alice"]),
        ("alice", "only to carol", ["`a.deep` leaves alice for bob", "`a.first` leaves alice for bob"]),
        ("bob", "only to alice", ["`logit` leaves bob for carol"]),
        (
            "alice",
            "never Gender, City",
            [
                "alice.City reaches bob in `a.deep`, `a.first` and `liked`",
                "alice.City reaches carol in `logit`",
            ],
        ),
        ("alice", "never to carol: City", ["alice.City reaches carol in `logit`"]),
        (
            "bob",
            "never liked",
            [
                "bob.liked reaches alice in `a.first.gradient` and `a.deep.gradient`",
                "bob.liked reaches carol in `logit`",
            ],
        ),
        (
            "bob",
            "never to alice: Stars",
            ["bob.Stars reaches alice in `a.first.gradient` and `a.deep.gradient`"],
        ),
    ],
)
def test_what_a_release_refuses(party: str, clause: str, says: list[str]) -> None:
    errors = found(release(party, clause))
    assert sorted(d.message.split(", but")[0] for d in errors) == sorted(says)
    assert told(release(party, clause)) == [("VFL0305", clause)] * len(says)
    assert all(d.help for d in errors)


def test_all_clauses_hold_and_each_that_does_not_is_told() -> None:
    text = release(
        "alice", "activations at most 8 floats a row\n only a.deep, a.first\n never Age\n only to bob"
    )
    assert [marked for _, marked in told(text)] == [
        "activations at most 8 floats a row",
        "never Age",
        "never Age",
    ]


def test_several_releases_of_a_party_hold_together() -> None:
    text = granted(BARE + "release alice { only to bob }\nrelease alice { never Age }\n")
    assert {marked for _, marked in told(text)} == {"never Age"}


@pytest.mark.parametrize(
    ("party", "clause", "code", "marked"),
    [
        ("alcie", "only to bob", "VFL0403", "alcie"),
        ("alice", "only to bbo", "VFL0403", "bbo"),
        ("alice", "never Gendre, Age", "VFL0105", "Gendre"),
        ("alice", "never Price", "VFL0105", "Price"),
        ("alice", "activations at most 1.5 floats a row", "VFL0205", "1.5"),
        ("alice", "", "VFL0308", "release alice {  }"),
        ("alice", "activations at most 9", "VFL0308", "activations at most 9"),
        ("alice", "at most 9 floats a row", "VFL0308", "at most 9 floats a row"),
        ("alice", "labels at most 9 floats a row", "VFL0308", "labels at most 9 floats a row"),
        ("alice", "only", "VFL0308", "only"),
        ("alice", "only to", "VFL0308", "only to"),
        ("alice", 'only "a"', "VFL0308", 'only "a"'),
        ("alice", "never", "VFL0308", "never"),
        ("alice", "nothing", "VFL0308", "nothing"),
    ],
)
def test_mistakes_in_a_release(party: str, clause: str, code: str, marked: str) -> None:
    text = release(party, clause)
    assert told(text) == [(code, marked)]
    assert code == "VFL0205" or all(d.help for d in found(text))


def test_lists_stay_on_a_line() -> None:
    text = BARE + "release alice { only a.deep ,a.first\n never Gender,Age\n only to bob }\n"
    formatted = format_spec(text)
    wanted = "release alice {\n  only a.deep, a.first\n  never Gender, Age\n  only to bob\n}\n"
    assert formatted.endswith(wanted) and format_spec(formatted) == formatted
    assert [code for code, _ in told(formatted)] == [code for code, _ in told(text)]
    assert format_spec("release alice { never Age,\n City }").splitlines()[1:-1] == ["  never Age, City"]
    kept = format_spec("release alice { never Age, # of all\n City }")
    assert "# of all" in kept and format_spec(kept) == kept


# --- accept ----------------------------------------------------------------------------------------------


def accept(target: str, code: str = "VFL0302", reason: str = "alice has published it") -> str:
    return f'accept {code} on {target} because "{reason}"\n'


def test_raw_values_cross_only_where_they_are_waived() -> None:
    assert {code for code, _ in told(RAW)} == {"VFL0302"}
    assert not found(RAW + accept("alice.Age"))
    assert not found(accept("alice.Age") + RAW), "the order of statements does not matter"
    assert {code for code, _ in told(RAW + accept("a.deep"))} == {"VFL0302"}


@pytest.mark.parametrize(
    ("text", "code", "marked"),
    [
        (NONLINEAR + accept("gradients to alice"), "VFL0307", accept("gradients to alice").strip()),
        (NONLINEAR + accept("a.deep", "VFL0325"), "VFL0307", accept("a.deep", "VFL0325").strip()),
        (NONLINEAR + accept("a.deep", "VFL0320"), "VFL0307", accept("a.deep", "VFL0320").strip()),
        (NONLINEAR + accept("gradients to alice", "VFL9999"), "VFL0307", "VFL9999"),
        (NONLINEAR + accept("gradients to alcie"), "VFL0403", "alcie"),
        (NONLINEAR + accept("gradients to alice", reason=" "), "VFL0306", None),
        (NONLINEAR + accept("gradients to alice", reason="agreed upon"), "VFL0306", None),
        (NONLINEAR + accept("gradients to alice", reason="-- 1 2 3 --"), "VFL0306", None),
        (NONLINEAR + "accept VFL0302 on a.deep\n", "VFL0306", "accept VFL0302 on a.deep"),
    ],
)
def test_mistakes_in_a_waiver(text: str, code: str, marked: str | None) -> None:
    ((found_code, found_text),) = told(text)
    assert found_code == code and marked in (None, found_text)


def test_codes_of_what_may_be_learned_are_granted_instead() -> None:
    (error,) = found(NONLINEAR + accept("gradients to alice", "VFL0310"))
    assert error.message == "`VFL0310` is now evidence and needs no waiver"
    assert "vflc check --fix" in (error.help or "")


@pytest.mark.parametrize("target", ["gradients to bob", "b", "nowhere", "a.shallow"])
def test_a_waiver_of_what_was_not_found(target: str) -> None:
    codes = [code for code, _ in told(RAW + accept("alice.Age") + accept(target))]
    assert codes == ["VFL0307"]


def test_warnings_are_waived_as_errors_are() -> None:
    shown = check_source(SourceText("spec.vfl", granted(ENDS)))
    assert {d.code for d in shown} == {"VFL0325"} and {d.level for d in shown} == {"warning"}
    waiver = accept("gradients to carol", "VFL0325", "carol has licensed the model")
    assert not check_source(SourceText("spec.vfl", granted(ENDS + waiver)))


# --- where waivers stand ---------------------------------------------------------------------------------


def test_manifests_have_the_reasons() -> None:
    text = RAW + accept("alice.Age", reason="one | reason, and\\n## more of it")
    bundle = compile_source(SourceText("spec.vfl", text))
    edges = {edge["id"]: edge for edge in json.loads(bundle.files["manifest.json"])["edges"]}
    waiver = {"code": "VFL0302", "because": "one | reason, and ## more of it"}
    assert {name: e["accepted"] for name, e in edges.items() if e["accepted"]} == {"alice.Age": [waiver]}
    assert not any(edge["findings"] for edge in edges.values())
    page = bundle.files["manifest.md"].decode().splitlines()
    assert "- VFL0302 on `alice.Age`, because: one \\| reason, and \\#\\# more of it" in page
    assert "## more of it" not in page and "## Found" not in page


def test_the_page_that_a_person_signs_is_under_the_digest(tmp_path: Path) -> None:
    """Whoever hands a bundle on could else say less in it than the manifest, under the same digest."""
    bundle = compile_source(SourceText("spec.vfl", granted(NONLINEAR)))
    bundle.write(tmp_path / "b")
    page = tmp_path / "b" / "manifest.md"
    content, digest = page.read_bytes(), bundle.manifest["digest"].encode()
    assert content.count(digest) == 1
    open_bundle(tmp_path / "b", ("bob",))
    other = b"0" * len(digest)
    for changed in (
        content[:-2],
        content.replace(b" all", b" no", 1),
        content + digest,
        content.replace(digest, other),
    ):
        assert changed != content
        page.write_bytes(changed)
        with pytest.raises(Failure, match=r"VFL0613: .*manifest.md is not what manifest.json says of it"):
            open_bundle(tmp_path / "b", ("bob",))
    page.unlink()
    open_bundle(tmp_path / "b", ("bob",))


def test_the_page_says_what_each_edge_tells() -> None:
    text = granted(NONLINEAR.replace("[alice.Age, alice.City]", "[alice.Gender, alice.City]"))
    bundle = compile_source(SourceText("spec.vfl", text))
    page = bundle.files["manifest.md"].decode()
    size = "at most 5.322 bits a row, one of 40 values; each column through 1 number"
    assert f"| `a.deep` | {size} |" in page and f"| `a.first` | {size}, linear |" in page
    factor = "bob.liked: the derivative of the loss liked times a factor that varies by row | hints |"
    assert f"| `a.deep.gradient` | {factor}" in page and f"| `a.first.gradient` | {factor}" in page
    assert "## Waived" not in page
    told = json.loads(bundle.files["manifest.json"])["edges"][0]["discloses"]
    assert told["values"] == 40 and told["secrets"]["alice.Gender"]["width"] == 1


def test_compile_prints_evidence_and_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    affine = RAW.replace(
        "dense(mlp(concat(alice.Age, a.deep, a.first, b), [5]), 1)", "dense(concat(alice.Age, a.first, b), 1)"
    )
    (tmp_path / "spec.vfl").write_text(affine + accept("alice.Age"), "utf-8")
    assert run(["compile", str(tmp_path / "spec.vfl"), "-o", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert rows["a.first.gradient"].endswith("exact label") and rows["alice.Age"].endswith("VFL0302 (waived)")
    assert "VFL0302 on alice.Age is waived: alice has published it" in lines
    assert any("known to reveal: `a.first.gradient` is the derivative" in line for line in lines)


def test_many_values_are_told_by_their_bits_alone() -> None:
    text = granted(
        NONLINEAR.replace("hash(20)", "hash(100000000)").replace("[alice.Age, ", "[alice.Gender, ")
    )
    page = compile_source(SourceText("spec.vfl", text)).files["manifest.md"].decode()
    assert "| `a.deep` | at most 27.57 bits a row, one of 200,000,000 values;" in page
    unbounded = compile_source(SourceText("spec.vfl", NONLINEAR)).files["manifest.md"].decode()
    assert "| `a.deep` | at most 192 bits a row; each column" in unbounded and "one of" not in unbounded


def test_a_population_has_no_limits_protections_or_waivers() -> None:
    head = "population users {\n key U\n feature M: int -> index(9)\n label r = s\n column s: float\n}\n"
    body = (
        "party hub {}\n"
        "global t = table(9, 2) at hub\nlocal w = weight(2) at users\nscore = dot(w, lookup(t, users.M))\n"
        "predict r = score\nobjective mse(score, users.r)\n"
        "release users { to hub, users: M, r }\n"
    )
    assert not found(head + body)
    for statement, marked in (
        ("release users { gradients at most 9 floats a row }", "gradients at most 9 floats a row"),
        ('accept VFL0302 on gradients to hub because "there is a contract"', None),
        ("protect gradients to hub with gaussian(clip = 1.0, epsilon = 8, delta = 1e-6)", None),
    ):
        assert set(told(head + body + statement)) == {("VFL0502", marked or statement)}
