"""How the pipeline's process trains with others: by a child that joins them as their chief."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components import cluster, progress
from components.errors import UsageError
from components.task import Task
from components.worker import TASK_FILE

_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (UsageError, FloatingPointError)
}


def train_with_workers(task: Task, folder: Path) -> None:
    """Trains with all processes of TF_CONFIG; the last checkpoint is there afterwards.

    Args:
        task: given to all of them.
        folder: where each of them looks for it.

    Raises:
        UsageError: TF_CONFIG is missing or malformed, this process is not the chief, or the
            processes do not fit together.
        FloatingPointError: the loss is no longer finite.
        RuntimeError: a process was lost, or whatever else went wrong.
    """
    cluster.chief_from_environment()
    path = folder / TASK_FILE
    task.write(path)
    try:
        _run_chief(folder)
    finally:
        path.unlink(missing_ok=True)


def _run_chief(folder: Path) -> None:
    command = [sys.executable, "-m", "components.worker", str(folder), "--chief"]
    # It ends when its stdin does, however this process ends.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        failure = _relay(child.stdout or ())
        code = child.wait()
    if failure is not None:
        raise _KINDS.get(failure["kind"], RuntimeError)(failure["message"])
    if code:
        raise RuntimeError(f"the chief's training process ended with exit code {code}")


def _relay(lines: Iterable[str]) -> dict[str, Any] | None:
    """Passes on the events in a child's lines; what it says of its failure, if it failed."""
    failure = None
    for line in lines:
        if not line.startswith('{"event": '):
            print(line, end="", flush=True)
            continue
        told = json.loads(line)
        if told["event"] == "failed":
            failure = told["values"]
        else:
            progress.emit(told["event"], **told["values"])
    return failure
