"""The command line around the commands: help, usage, exit codes, and how each failure is shown."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from vflc_runtime.errors import Failure

from vflc.api.errors import at
from vflc.cli import failures, main
from vflc.cli.commands import COMMANDS
from vflc.diagnostics import Diagnostic, Refused, SourceText, Span


def vflc(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vflc.cli.main", *arguments], capture_output=True, text=True, **options
    )  # type: ignore[call-overload]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n  {name} " not in shown] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([name, "--help"]) == 0
    assert f"Usage: vflc {name}" in capsys.readouterr().out


def test_every_command_file_is_listed() -> None:
    folder = Path(main.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "click.command(" in path.read_text("utf-8")}
    assert {name.removesuffix("_") for name in files} == set(COMMANDS)  # `import` is a word of Python


def test_unknown_command_is_usage_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["chek"]) == 2
    assert "did you mean 'check'?" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("vflc 0.")


def test_refused_shows_every_finding_at_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    source = SourceText("a.vfl", "x = y\nz = w\n")
    found = [
        Diagnostic("VFL0101", "nothing is called 'y'", Span(source, 4, 5), "define it"),
        Diagnostic("VFL0101", "nothing is called 'w'", Span(source, 10, 11)),
    ]
    assert failures.report(Refused(found)) == 1
    shown = capsys.readouterr().err
    assert shown.count("error[VFL0101]") == 2
    assert "a.vfl:1:5" in shown and "a.vfl:2:5" in shown and "z = w" in shown and "define it" in shown


def test_failure_is_shown_at_the_line_of_the_spec(capsys: pytest.CaptureFixture[str]) -> None:
    where = {
        "file": "deepfm.vfl",
        "line": 12,
        "column": 3,
        "end_column": 10,
        "text": "  feature MovieID: string",
    }
    failure = Failure("VFL0602", "bob's table has no column 'MovieID'", "it has ID", where)
    assert failures.report(failure) == 1
    shown = capsys.readouterr().err
    assert "error[VFL0602]: bob's table has no column 'MovieID'" in shown
    assert "deepfm.vfl:12:3" in shown and "feature MovieID: string" in shown and "it has ID" in shown


def test_place_of_a_failure_is_the_place_in_the_plan() -> None:
    where = {"file": "a.vfl", "line": 3, "column": 2, "end_column": 4, "text": "abcdef"}
    span = at(where)
    assert (span.text, span.line, str(span)) == ("bc", 3, "a.vfl:3:2")


def test_exit_code_of_a_peer_that_failed() -> None:
    assert failures.report(Failure("VFL0615", "message", exit_code=3)) == 3


def test_full_disk_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.report(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/manifest.json")) == 1
    assert "VFL0612" in capsys.readouterr().err


def test_interrupt(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for stopped in (click.Abort(), KeyboardInterrupt()):
        monkeypatch.setattr(main, "_ended", lambda _, stopped=stopped: failures.report(stopped))
        assert main.run([]) == 130
    assert capsys.readouterr().err == "interrupted\n" * 2


def test_defect_is_one_line_and_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("VFLC_DEBUG", raising=False)
    assert failures.report(ZeroDivisionError("x\ny")) == 4
    shown = capsys.readouterr().err
    (file,) = tmp_path.glob("vflc-defect-*.txt")
    assert shown == f"a bug in vflc: ZeroDivisionError: x\nplease report it with {file}\n"
    assert "ZeroDivisionError" in file.read_text()
    monkeypatch.setenv("VFLC_DEBUG", "1")
    try:
        raise KeyError("here")
    except KeyError as error:
        failures.report(error)
    assert "Traceback" in capsys.readouterr().err


def test_reader_that_goes_away_is_no_traceback() -> None:
    script = f"{sys.executable} -m vflc.cli.main --help | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""


STARTING = """
import os
import sys

class Watching:
    def __init__(self, stop=None):
        self.asked, self.stop = [], stop

    def find_spec(self, name, path=None, target=None):
        self.asked.append(name)
        if name == self.stop:
            sys.meta_path.remove(self)
            raise KeyboardInterrupt

def ended(name=None):
    pid = os.fork()
    if not pid:
        watching = Watching(name)
        sys.meta_path.insert(0, watching)
        from vflc.cli.main import main
        watching.asked.append("-")
        sys.argv[1:] = ["check", sys.argv[1]]
        try:
            main()
        finally:
            if not name:
                print(*watching.asked)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

if len(sys.argv) == 2:
    raise SystemExit(ended())
for name in sys.argv[2:]:
    print(name, ended(name), flush=True)
"""


def test_ctrl_c_is_heard_from_the_first_import_on(tmp_path: Path) -> None:
    """Whatever is imported until the command runs; before there is only the file that hears it."""
    (tmp_path / "s.vfl").write_text("party a {", "utf-8")
    command = [sys.executable, "-c", STARTING, str(tmp_path / "s.vfl")]
    whole = subprocess.run(command, capture_output=True, text=True)
    assert whole.returncode == 1, whole.stderr
    before, _, after = whole.stdout.splitlines()[-1].partition(" - ")
    assert set(before.split()) <= {"vflc", "__future__", "gc", "vflc.cli", "vflc.cli.main"}
    names = list(dict.fromkeys(after.split()))
    names = names[: names.index("vflc.cli.check") + 1]
    assert {"click", "vflc.cli.signals", "vflc.cli.commands"} <= set(names)
    done = subprocess.run([*command, *names], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{name} 130" for name in names], done.stderr[-2000:]
    assert done.stderr.split() == ["interrupted"] * len(names)


INTERRUPTED_IMPORT = """
import sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from vflc.cli.main import run
sys.exit(run(["check", sys.argv[2]]))
"""


@pytest.mark.parametrize("module", ["click.utils", "click.decorators", "vflc.ir.graph"])
def test_ctrl_c_is_heard_while_modules_are_imported(module: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED_IMPORT, module, "spec.vfl"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "interrupted")


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"], ids=["stdout", "stderr", "all"])
def test_a_closed_stream_is_one_that_nobody_reads(closed: str) -> None:
    script = f'"$0" -m vflc.cli.main explain VFL0105 {closed}'
    done = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert ("VFL0105" in done.stdout) == (closed == "2>&-")


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize(
    ("when", "code"),
    [("atexit.register(again)", -2), ("main.interrupted = again", 130)],
    ids=["end", "answer"],
)
def test_a_late_ctrl_c_shows_no_code(when: str, code: int) -> None:
    script = f"""
import atexit, os, signal
from vflc.cli import main
def again(): os.kill(os.getpid(), signal.SIGINT)
def ended(arguments): raise KeyboardInterrupt
main._ended = ended
{when}
main.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr.strip() in ("interrupted", "")
