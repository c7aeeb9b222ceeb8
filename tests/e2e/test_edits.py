"""What an edit makes run again: all that depends on it, and nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tests.e2e.conftest import Result, Workspace, command

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]

_ROOT = Path(__file__).parents[2]
# No candidate is to replace the model that the other tests of the workspace know.
_REFUSE = ("--set", "gate.top_k_accuracy=1.01")
_FROM_TRAINER = {"Trainer", "Baseline", "ServingCheck", "Evaluator", "Pusher"}


def executed(result: Result) -> set[str]:
    """The components that were not taken from the cache."""
    return {name for name, state in result.states.items() if state != "cached"}


def run_with_source(source: Path, workspace: Workspace) -> Result:
    """A run whose modules are those of another folder."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *command(workspace.data, workspace.root, *_REFUSE)],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, workspace.latest())


def test_edited_model_source_trains_again_and_keeps_the_data_stages(
    first: Result, workspace: Workspace, tmp_path: Path
) -> None:
    for room in ("models", "components", "pipeline"):
        shutil.copytree(_ROOT / room, tmp_path / room)
    with (tmp_path / "models" / "blocks.py").open("a") as file:
        file.write("# edited\n")
    edited = run_with_source(tmp_path, workspace)
    assert edited.code == 3
    assert executed(edited) == _FROM_TRAINER


def test_edited_data_run_again_through_all_stages_but_the_schema(
    first: Result, workspace: Workspace, tmp_path: Path
) -> None:
    shard, manifest = min((workspace.data / "train").iterdir()), workspace.data / "manifest.json"
    for file in (shard, manifest):
        shutil.copy2(file, tmp_path)
    # With a manifest, a shard that does not match it is refused.
    manifest.unlink()
    records = list(tf.data.TFRecordDataset([str(shard)], "GZIP").as_numpy_iterator())
    with tf.io.TFRecordWriter(str(shard), "GZIP") as writer:
        for record in records[1:]:
            writer.write(record)
    try:
        edited = workspace.run(*_REFUSE)
    finally:
        for file in (shard, manifest):
            # With its time, by which ExampleGen knows a shard.
            shutil.copy2(tmp_path / file.name, file)
    assert edited.code == 3
    assert executed(edited) == set(first.states) - {"ReviewedSchema"}
    assert executed(workspace.run()) == set()
