"""What libraries print goes to the log; the way to the terminal stays open."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import ctypes, os, subprocess, sys
from pathlib import Path
from pipeline.capture import captured_output

print("before")
try:
    with captured_output(Path(sys.argv[1])) as stream:
        print("from Python")
        print("to stderr", file=sys.stderr)
        libc = ctypes.CDLL(None)
        libc.puts(b"from C")
        libc.fflush(None)
        os.write(2, b"from C's stderr\\n")
        subprocess.run(["sh", "-c", "echo from a child; echo child errs >&2"], check=True)
        print("to the terminal", file=stream)
        print("at the end", end="")
        if sys.argv[2] == "fail":
            raise ZeroDivisionError
except ZeroDivisionError:
    print("caught")
print("after")
print("after, stderr", file=sys.stderr)
"""
QUIET = """
import os, subprocess, sys
from pipeline.capture import quiet_stderr

try:
    with quiet_stderr():
        print("to stderr", file=sys.stderr)
        os.write(2, b"from C's stderr\\n")
        subprocess.run(["sh", "-c", "echo child errs >&2"], check=True)
        print("to stdout")
        if sys.argv[1] == "fail":
            raise ZeroDivisionError
except ZeroDivisionError:
    print("caught")
print("after", file=sys.stderr)
"""
INSIDE = {
    "from Python",
    "to stderr",
    "from C",
    "from C's stderr",
    "from a child",
    "child errs",
    "at the end",
}


def call(log: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(log), how],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )


def test_everything_printed_inside_goes_to_the_file(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    done = call(log, "pass")
    assert set(log.read_text().splitlines()) == INSIDE
    assert done.stdout == "before\nto the terminal\nafter\n"
    assert done.stderr == "after, stderr\n"


def test_the_streams_come_back_after_an_error(tmp_path: Path) -> None:
    done = call(tmp_path / "run.log", "fail")
    assert done.stdout == "before\nto the terminal\ncaught\nafter\n"
    assert done.stderr == "after, stderr\n"


def test_a_log_is_added_to(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("earlier\n")
    call(log, "pass")
    assert log.read_text().startswith("earlier\n")


def test_no_file_descriptor_is_left_open(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from pipeline.capture import captured_output
before = set(os.listdir("/proc/self/fd"))
for _ in range(3):
    with captured_output(Path(sys.argv[1])):
        pass
sys.exit(set(os.listdir("/proc/self/fd")) != before)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_stderr_is_held_back_and_comes_out_if_the_block_fails() -> None:
    done = {
        how: subprocess.run(
            [sys.executable, "-c", QUIET, how], cwd=ROOT, check=True, capture_output=True, text=True
        )
        for how in ("work", "fail")
    }
    assert done["work"].stderr == "after\n"
    assert done["work"].stdout == "to stdout\n"
    held = {"to stderr", "from C's stderr", "child errs"}
    assert set(done["fail"].stderr.splitlines()) == {*held, "after"}
    assert done["fail"].stdout == "to stdout\ncaught\n"
