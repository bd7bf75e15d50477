"""What tests fork is a process like any other."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from forked import IMPORTED, Command, completed

SCRIPT = """
import json, os, signal, sys
found = {
    "modules": [*sys.modules], "threads": len(os.listdir("/proc/self/task")), "pid": os.getpid(),
    "cwd": os.getcwd(), "environment": dict(os.environ), "arguments": sys.argv[1:], "stdin": sys.stdin.read(),
    "signals": [signal.getsignal(number) == handler for number, handler in (
        (signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGCHLD, signal.SIG_DFL),
    )],
}
print(json.dumps(found))
print("an error", file=sys.stderr)
sys.exit(7)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path / "script.py"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux says how many threads there are")
def test_it_has_imported_and_is_otherwise_new(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc")
    monkeypatch.setenv("OF_THIS_TEST", "x")
    done = completed(script, "one", 2, cwd=script.parent)
    found = json.loads(done.stdout)
    assert done.returncode == 7 and done.stderr == "an error\n"
    assert set(IMPORTED) <= set(found["modules"])
    assert found["threads"] == 1, "a lock that a thread of the server holds would stay held"
    assert found["pid"] != os.getpid() and found["cwd"] == str(script.parent) and found["stdin"] == ""
    assert found["environment"] == dict(os.environ) and found["arguments"] == ["one", "2"]
    assert found["signals"] == [True] * 3


def test_it_finds_modules_where_its_environment_says(script: Path) -> None:
    (script.parent / "lib").mkdir()
    (script.parent / "lib" / "of_this_test.py").write_text("print('imported')")
    script.write_text("import of_this_test")
    done = completed(script, env={"PYTHONPATH": str(script.parent / "lib")})
    assert done.stdout == "imported\n", done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_of_signals(number: int, tmp_path: Path) -> None:
    script, said = tmp_path / "script.py", tmp_path / "said"
    script.write_text("import time\nprint('here', flush=True)\ntime.sleep(600)")
    command = Command(script, stdout=said, stderr=said)
    while not (said.exists() and said.read_text()):
        assert command.poll() is None
        time.sleep(0.01)
    command.send_signal(number)
    assert command.wait(60) == -number
