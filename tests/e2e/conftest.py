"""Whole runs on a tiny data set, in this process: TFX is imported once for all of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pytest

from pipeline import cli

SETTINGS = (
    "model.name=vit_tiny",
    "trainer.epochs=3",
    "trainer.batch_size=32",
    "gate.top_k_accuracy=0.55",
    "gate.max_regression=0.02",
    "serving_check.examples=8",
)


def command(data: Path, workdir: Path, *more: str) -> list[str]:
    """The arguments of a tiny run."""
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return [
        "run",
        "--preset",
        "demo",
        "--data",
        str(data),
        "--workdir",
        str(workdir),
        *settings,
        *more,
    ]


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    code: int
    summary: dict[str, Any]

    @property
    def states(self) -> dict[str, str]:
        """State of each component that was reached."""
        return {entry["name"]: entry["state"] for entry in self.summary["components"]}


@dataclass(frozen=True)
class Workspace:
    """A work directory, and its data set."""

    data: Path
    root: Path

    def run(self, *more: str, data: Path | None = None) -> Result:
        """One `vitpipe run`."""
        code = cli.main(command(data or self.data, self.root, *more))
        return Result(code, self.latest())

    def latest(self) -> dict[str, Any]:
        """The newest run's summary."""
        folder = max((self.root / "runs").iterdir())
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
        return summary

    @property
    def versions(self) -> list[int]:
        """What a model server sees."""
        folder = self.root / "serving" / "vit"
        return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny generated data set of ten classes."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    sizes = ["--train", "320", "--eval", "80", "--test", "80", "--size", "16"]
    assert cli.main(["data", "synthetic", "--output", str(folder), *sizes]) == 0
    return folder


@pytest.fixture(scope="session")
def workspace(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A work directory in which nothing was run yet."""
    return Workspace(data, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def first(workspace: Workspace) -> Result:
    """The first run of the workspace, which pushes. Later runs there bless nothing else."""
    return workspace.run()


@pytest.fixture(autouse=True)
def default_precision() -> Iterator[None]:
    """The Trainer sets the precision of its whole process; other tests want the default."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)
