"""The runs of a work directory, read from what each of them wrote.

A run may be going on, killed half-way or damaged: reading it never fails for that.
"""

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from components.errors import UsageError

LATEST = "latest"
SUMMARY_FILE = "summary.json"
INTERRUPTED = "interrupted"
UNREADABLE = "unreadable"

_NAMED_AT_MOST = 10
_CLOCK_SLACK_SECONDS = 60.0


@dataclass(frozen=True)
class Run:
    """One run's folder and what its summary says.

    `problem` is set, and `summary` empty, where the summary cannot be read.
    """

    run_id: str
    path: Path
    summary: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None

    @property
    def status(self) -> str:
        """The summary's status, or `interrupted` or `unreadable` where that is the truth."""
        if self.problem is not None:
            return UNREADABLE
        status = self.text("status") or "unknown"
        if status == "running" and not _is_alive(self.value("pid"), self.text("started")):
            return INTERRUPTED
        return status

    @property
    def seconds(self) -> float | None:
        """How long it took, or has been running."""
        if self.status != "running":
            return self.number("seconds")
        try:
            began = datetime.fromisoformat(self.text("started") or "").timestamp()
        except ValueError:
            return None
        return max(0.0, time.time() - began)

    def value(self, *keys: str) -> Any:
        """What lies under these keys, one inside the other; None where nothing does."""
        found: Any = self.summary
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def text(self, *keys: str) -> str | None:
        """The text under these keys; None for anything that is no text."""
        found = self.value(*keys)
        return found if isinstance(found, str) else None

    def number(self, *keys: str) -> float | None:
        """The number under these keys; None for anything that is no number."""
        found = self.value(*keys)
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        return found if is_number else None

    def section(self, *keys: str) -> dict[str, Any]:
        """The mapping under these keys, empty for anything that is none."""
        found = self.value(*keys)
        return found if isinstance(found, dict) else {}


def list_runs(workdir: Path) -> list[Run]:
    """All runs, the newest first; none for a work directory that is not there yet.

    Raises:
        UsageError: the folder of the runs is there but cannot be listed.
    """
    folder = runs_folder(workdir)
    try:
        names = sorted((entry.name for entry in os.scandir(folder) if entry.is_dir()), reverse=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(
            f"expected a work directory with runs in {folder}, got: {error.strerror}; "
            "name another one with --workdir"
        ) from error
    return [_read(folder / name) for name in names if not name.startswith(".")]


def load_run(workdir: Path, run_id: str) -> Run:
    """The run of exactly this id.

    Raises:
        UsageError: there is none.
    """
    for run in list_runs(workdir):
        if run.run_id == run_id:
            return run
    raise UsageError(f"no run {run_id!r} in {runs_folder(workdir)}; `vitpipe runs` lists them")


def find_run(runs: Sequence[Run], name: str) -> Run:
    """The one of these runs, newest first, that a person means by `name`.

    `name` is an id, the beginning of exactly one id, or `latest`.

    Raises:
        UsageError: no run or more than one is meant; the candidates are named.
    """
    if not runs:
        raise UsageError(f"expected a run, got {name!r}, but there are no runs: {HOW_TO_MAKE_ONE}")
    if name == LATEST:
        return runs[0]
    exact = [run for run in runs if run.run_id == name]
    begun = exact or [run for run in runs if name and run.run_id.startswith(name)]
    if len(begun) == 1:
        return begun[0]
    problem = f"{len(begun)} runs begin with" if begun else "no run begins with"
    raise UsageError(
        f"expected an id, the beginning of one, or {LATEST}; {problem} {name!r}. "
        f"Candidates: {_names(begun or runs)}"
    )


HOW_TO_MAKE_ONE = "make one with `vitpipe run --preset demo`"


def runs_folder(workdir: Path) -> Path:
    """Where the runs of a work directory lie, one folder each."""
    return workdir / "runs"


def without_nan(value: Any) -> Any:
    """The value with what JSON cannot hold (infinities, not-a-number) as None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return value


def _read(path: Path) -> Run:
    try:
        summary = json.loads((path / SUMMARY_FILE).read_bytes())
    except FileNotFoundError:
        return Run(path.name, path, problem=f"no {SUMMARY_FILE}")
    except (OSError, ValueError, RecursionError) as error:
        return Run(path.name, path, problem=f"{SUMMARY_FILE}: {error}")
    if not isinstance(summary, dict):
        return Run(path.name, path, problem=f"{SUMMARY_FILE}: not a JSON object")
    return Run(path.name, path, summary)


def _names(runs: Sequence[Run]) -> str:
    names = [run.run_id for run in runs[:_NAMED_AT_MOST]]
    more = len(runs) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _is_alive(pid: Any, started: str | None) -> bool:
    """Whether the process that began a run is still there, and still the same one."""
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's, so it exists
        pass
    return _began_before(pid, started)


def _began_before(pid: int, started: str | None) -> bool:
    # After a reboot the number may belong to another process, which is younger than
    # the run; a zombie has ended and only waits for its parent.
    try:
        state, *_, ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:20]
        boot = next(
            float(line.split()[1])
            for line in Path("/proc/stat").read_text().splitlines()
            if line.startswith("btime ")
        )
        began = boot + int(ticks) / os.sysconf("SC_CLK_TCK")
        run_began = datetime.fromisoformat(started or "").timestamp()
    except (OSError, ValueError, StopIteration):
        return True  # not to be told here: no /proc, or no time in the summary
    return state not in "ZX" and began <= run_began + _CLOCK_SLACK_SECONDS
