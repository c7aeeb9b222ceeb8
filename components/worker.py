"""One of several processes that train together, each started by hand or by a scheduler.

    TF_CONFIG=... python -m components.worker WORKDIR/checkpoints

waits until the chief's Trainer has put a task there, trains its part of it and leaves. There
is none where the chief's run finds its training in the cache: then it leaves with exit code 1
after --wait seconds. It writes nothing. The chief's Trainer starts its own with --chief:
TensorFlow joins a cluster only before it does anything else, and in the pipeline's process it
has.
"""

import argparse
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from components import cluster, progress
from components.errors import UsageError, VitpipeError

TASK_FILE = "training.json"
WAIT_SECONDS = 3600.0
_SECONDS_BETWEEN_LOOKS = 1.0


def train(folder: Path, is_chief: bool, wait: float = WAIT_SECONDS) -> None:
    """Trains the task in a folder of checkpoints as the process that TF_CONFIG names.

    Args:
        folder: where the chief's Trainer puts the task.
        is_chief: which kind of process the caller is.
        wait: for the task, in seconds.

    Raises:
        TimeoutError: no task came.
        UsageError: TF_CONFIG is missing, malformed, or names the other kind of process.
        FloatingPointError: the loss is no longer finite.
    """
    members = cluster.from_environment()
    if members.is_chief != is_chief:
        raise UsageError(f"{members.name} is the chief: start `vitpipe run` there")
    path = folder / TASK_FILE
    print(f"{members.name}: waits for {path}", flush=True)
    _wait_for(path, wait)
    print(f"{members.name}: joins the others", flush=True)
    # TensorFlow Transform's layer is a Keras 2 layer; `import keras` stays Keras 3.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # The chief has another process on the same GPUs: that of the pipeline.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    from components.distribution import train_as_worker
    from components.task import read_task

    train_as_worker(lambda: read_task(path), members)
    print(f"{members.name}: done", flush=True)


def _wait_for(path: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not path.is_file():
        if time.monotonic() > end:
            raise TimeoutError(
                f"no training came within {seconds:g} s: the chief's run has not begun, or had "
                "nothing left to train; start it, and this again"
            )
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _as_chief(folder: Path) -> int:
    """Tells events and errors as lines of JSON, and dies with the process that reads them."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with progress.listening(_tell):
        try:
            train(folder, is_chief=True)
        except Exception as error:
            traceback.print_exc()
            _tell("failed", {"kind": type(error).__name__, "message": str(error)})
            return 1
    return 0


def _die_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _tell(event: str, values: dict[str, Any]) -> None:
    print(json.dumps({"event": event, "values": values}), flush=True)


def main() -> int:
    """Runs the program; the exit code is that of `vitpipe`."""
    parser = argparse.ArgumentParser(prog="python -m components.worker")
    parser.add_argument("folder", type=Path, help="WORKDIR/checkpoints of the pipeline")
    parser.add_argument(
        "--wait",
        type=float,
        default=WAIT_SECONDS,
        metavar="SECONDS",
        help="leave if no training came until then (%(default)g)",
    )
    parser.add_argument("--chief", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.chief:
        return _as_chief(arguments.folder)
    try:
        train(arguments.folder, is_chief=False, wait=arguments.wait)
    except VitpipeError as error:
        print(f"worker: error: {error}", file=sys.stderr)
        return error.exit_code
    except TimeoutError as error:
        print(f"worker: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("worker: interrupted", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # TensorFlow's threads can crash the interpreter on its way out.
    os._exit(code)
