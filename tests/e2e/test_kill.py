"""Kill -9, then the same command: it goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Result, Workspace, command

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]

_PATIENCE = 600


def kill_when(arguments: list[str], reached: Callable[[], bool]) -> None:
    """Starts a run in a process group of its own and kills all of it at a certain point."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + _PATIENCE
    while not reached():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the point was never reached"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_run_resumes_and_ends_like_an_undisturbed_one(
    first: Result, data: Path, tmp_path: Path
) -> None:
    workspace = Workspace(data, tmp_path / "work")
    arguments = command(data, workspace.root)

    def in_transform() -> bool:
        system = workspace.root / "artifacts" / "Transform" / ".system"
        return system.is_dir()

    def one_epoch_done() -> bool:
        return bool(list((workspace.root / "checkpoints").glob("*/epoch-*")))

    def refused_beside_it() -> bool:
        """A second run, of the command that is at work, changes nothing."""
        before = list((workspace.root / "runs").iterdir())
        second = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        assert second.returncode == 1
        assert f"{workspace.root} is in use by process " in second.stderr
        return list((workspace.root / "runs").iterdir()) == before

    kill_when(arguments, in_transform)
    kill_when(arguments, lambda: one_epoch_done() and refused_beside_it())
    assert not workspace.versions
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert not any("epoch 1/3" in line for line in lines)
    assert any("epoch 3/3" in line for line in lines)
    assert "\x1b" not in done.stdout and "\r" not in done.stdout
    result = Result(0, workspace.latest())
    for stage in ("ImportExampleGen", "StatisticsGen", "ValidationGate", "Transform"):
        assert result.states[stage] == "cached"
    undisturbed = first.summary["metrics"]
    for name, tolerance in (("top_1_accuracy", 0.05), ("top_5_accuracy", 0.05), ("loss", 0.05)):
        assert result.summary["metrics"][name] == pytest.approx(undisturbed[name], abs=tolerance)
    assert len(workspace.versions) == 1
    assert "Component Transform is running" in Path(result.summary["log"]).read_text()
    assert not (workspace.root / "checkpoints").exists()
    states = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "runs", "--workdir", str(workspace.root)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert states.count("interrupted") == 2
