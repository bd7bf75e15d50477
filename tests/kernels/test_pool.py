"""The threads that all sessions of a process share: no races, and asleep when there is nothing to do."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vflc_kernels

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "runtime" / "vflc_kernels" / "src" / "pool.cpp"
HEAD = """
import os, sys, time
from pathlib import Path
import numpy as np, vflc_kernels
from operators import operator_session
from vflc_kernels.programs import Instruction, Program

x = np.ones(400_000)
program = Program(1, (Instruction("Sqrt", (0,)),), (1,))
session = operator_session("FusedDouble", [x], 1, program.attributes(), pooled=4)
tasks = Path("/proc/self/task")
before = {each.name for each in tasks.iterdir()}

def run():
    (made,) = session.run(None, {"x0": x})
    assert (made == 1).all()

run()
pool = {each.name for each in tasks.iterdir()} - before
assert len(pool) == 3, pool
"""
SIGNALS = """
for each in pool:
    said = dict(line.split(":", 1) for line in (tasks / each / "status").read_text().splitlines())
    assert int(said["SigBlk"], 16) >> 1 & 1, "SIGINT is Python's"
said = dict(line.split(":", 1) for line in (tasks / str(os.getpid()) / "status").read_text().splitlines())
assert int(said["SigBlk"], 16) == 0
"""
SLEEP = """
def used():
    return sum(int((tasks / each / "schedstat").read_text().split()[0]) for each in pool) / 1e9

end, before = time.monotonic() + 30, -1
while used() != before:
    assert time.monotonic() < end, "the pool's threads are awake without work"
    before = used()
    time.sleep(.2)

vflc_kernels.use_threads(1)
for _ in range(20):
    run()
assert used() == before, "the pool's threads are awake, and one thread does all"

vflc_kernels.use_threads(0)
end = time.monotonic() + 30
while used() == before:
    assert time.monotonic() < end, "the pool's threads never woke"
    run()
"""
FORK = """
child = os.fork()
if child == 0:
    run()  # by threads of its own
    pool = {each.name for each in tasks.iterdir()} - {str(os.getpid())}
    os._exit(0 if len(pool) == 3 else 3)
assert os.waitpid(child, 0)[1] == 0
run()
"""
ASIDE = """
import subprocess
cores = os.sched_getaffinity(0)
first = {min(cores)}
tied = min(pool, key=int)
os.sched_setaffinity(int(tied), first)
os.sched_setaffinity(os.getpid(), first)  # of the thread that calls
busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in cores]
try:
    end = time.monotonic() + 1
    while time.monotonic() < end:
        run()
finally:
    for each in busy:
        each.kill()
        each.wait()
for each in pool:
    end = time.monotonic() + 30
    while os.sched_getaffinity(int(each)) != (first if each == tied else cores):
        assert time.monotonic() < end, "a thread of the pool may not run where it was allowed to"
"""
REFUSED = """
import resource
more = operator_session("FusedDouble", [x], 1, program.attributes(), pooled=8)

def count():
    (made,) = more.run(None, {"x0": x})
    assert (made == 1).all()
    return len({each.name for each in tasks.iterdir()} - before)

vflc_kernels.use_threads(1)
count()  # its memory is there
vflc_kernels.use_threads(0)
_, most = resource.getrlimit(resource.RLIMIT_AS)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 20), most))  # less than a thread's stack
assert {count() for _ in range(20)} == {3}
resource.setrlimit(resource.RLIMIT_AS, (most, most))
end = time.monotonic() + 30
while count() != 7:
    assert time.monotonic() < end, "the system is not asked again"
"""
SCRIPTS = {"asleep": SLEEP, "fork": FORK, "signals": SIGNALS, "aside": ASIDE, "refused": REFUSED}
LINUX = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux tells what threads do")
BUILT = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_no_races(sanitizer: str, tmp_path: Path) -> None:
    made = tmp_path / "stress"
    flags = ["-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", f"-fsanitize={sanitizer}"]
    subprocess.run(["g++", *flags, HERE / "pool_stress.cpp", SOURCE, "-o", made], check=True)
    done = subprocess.run([made], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@LINUX
@BUILT
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=[*SCRIPTS])
def test_process(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script], cwd=HERE, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
