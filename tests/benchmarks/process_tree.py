"""Runs a command and measures it together with every process that it starts.

    python tests/benchmarks/process_tree.py --output FILE --log FILE COMMAND ...

Memory is proportional set size: a page that several processes share counts once in their
sum, where resident sizes would count it in each. `FILE` becomes a JSON object with
`exit_code`, `seconds` (wall) and `samples`, pairs of Unix time and bytes.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_INTERVAL_S = 0.5
# Adding up the pages of a large process takes long, and slows it: at most a tenth of the time.
_PAUSES_PER_SAMPLE = 9
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def _processes() -> dict[int, tuple[int, int]]:
    """Parent and session of every process, by its id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name before may itself hold spaces and brackets.
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        found[int(path.parent.name)] = (int(fields[1]), int(fields[3]))
    return found


def _tree(root: int) -> set[int]:
    """`root`, its descendants, and the orphans of its session."""
    processes = _processes()
    members = {root} | {pid for pid, (_, session) in processes.items() if session == root}
    while more := {pid for pid, (parent, _) in processes.items() if parent in members} - members:
        members |= more
    return members


def _bytes_of(pid: int) -> int:
    try:
        found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has ended meanwhile
    return int(found[1]) * 1024 if found else 0


def measure(command: list[str], log: Path) -> dict[str, Any]:
    """Runs the command in a session of its own; its output goes to `log`."""
    samples = []
    start = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        while process.poll() is None:
            before = time.monotonic()
            samples.append((time.time(), sum(map(_bytes_of, _tree(process.pid)))))
            cost = time.monotonic() - before
            try:
                process.wait(max(_INTERVAL_S, _PAUSES_PER_SAMPLE * cost))
            except subprocess.TimeoutExpired:
                continue
    seconds = time.monotonic() - start
    return {"exit_code": process.returncode, "seconds": seconds, "samples": samples}


def main() -> int:
    """Exits as the command did."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--log", type=Path, required=True, help="file for the command's output")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run")
    args = parser.parse_args()
    result = measure(args.command, args.log)
    args.output.write_text(json.dumps(result) + "\n")
    code: int = result["exit_code"]
    return code


if __name__ == "__main__":
    sys.exit(main())
