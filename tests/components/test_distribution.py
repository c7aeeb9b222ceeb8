"""Several devices and several processes learn what one device learns."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components import progress as reporting
from components import run_record
from components.checkpoints import Checkpoints
from components.class_names import with_classes
from components.cluster import VARIABLE
from components.task import compiled_model, set_up, task_of
from components.training import run_fn
from components.worker import TASK_FILE
from models.optim import OptimizerConfig
from models.variants import variant
from tests.components.material import CLASSES, good_records, write_shard

# Keras, of how it reads TensorFlow's variables to write them down.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

ROOT = Path(__file__).parents[2]
# The last batch of an epoch has one image: of two replicas one gets none.
TRAIN, EVAL, BATCH, EPOCHS = 9, 7, 4, 3
CURVES = (
    "loss",
    "top_1_accuracy",
    "top_5_accuracy",
    "eval_loss",
    "eval_top_1_accuracy",
    "eval_top_5_accuracy",
)


@dataclass(frozen=True)
class Data:
    """What the stages before the Trainer leave."""

    train: str
    eval: str
    schema: str
    graph: str


@pytest.fixture(scope="module")
def data(graph_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("data")
    schema = folder / "schema.pbtxt"
    schema.write_text(with_classes((ROOT / "components/schema.pbtxt").read_text(), CLASSES))
    return Data(
        write_shard(folder / "train.gz", good_records(TRAIN)),
        write_shard(folder / "eval.gz", good_records(EVAL, first=50)),
        str(schema),
        str(graph_dir),
    )


def arguments(data: Data, root: Path, strategy: str) -> dict[str, Any]:
    """FnArgs of a training below `root`, as JSON values."""
    return {
        "train_files": [data.train],
        "eval_files": [data.eval],
        "schema_path": data.schema,
        "transform_graph_path": data.graph,
        "serving_model_dir": str(root / "model"),
        "model_run_dir": str(root / "model_run"),
        "custom_config": {
            "model": dataclasses.asdict(variant("vit_tiny")),
            "optimizer": dataclasses.asdict(OptimizerConfig(learning_rate=1e-2, clipnorm=1.0)),
            "trainer": {
                "epochs": EPOCHS,
                "batch_size": BATCH,
                "augmentation": "crop_flip",
                "label_smoothing": 0.1,
                "strategy": strategy,
            },
            "checkpoint_dir": str(root / "checkpoints"),
        },
    }


@dataclass(frozen=True)
class Outcome:
    """What is left of a training."""

    history: dict[str, list[float]]
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]


def outcome(given: dict[str, Any]) -> Outcome:
    task = task_of(SimpleNamespace(**given))
    model = compiled_model(task, set_up(task))
    Checkpoints(task.checkpoints).restore(model)
    return Outcome(
        run_record.read_history(given["model_run_dir"]),
        [np.array(weight) for weight in model.weights],
        [np.array(variable) for variable in model.optimizer.variables],
    )


def assert_same(found: Outcome, expected: Outcome) -> None:
    for name in CURVES:
        assert len(found.history[name]) == EPOCHS
        np.testing.assert_allclose(found.history[name], expected.history[name], rtol=1e-4)
    for one, other in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-4)
    for one, other in zip(found.optimizer, expected.optimizer, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-4)


@pytest.fixture(scope="module")
def single(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    given = arguments(data, tmp_path_factory.mktemp("single"), "none")
    run_fn(SimpleNamespace(**given))
    return outcome(given)


def test_mirrored(data: Data, single: Outcome, tmp_path: Path) -> None:
    given = arguments(data, tmp_path, "mirrored")
    (tmp_path / "arguments.json").write_text(json.dumps(given))
    command = [sys.executable, "-m", "tests.components.training_run"]
    done = subprocess.run(
        [*command, str(tmp_path / "arguments.json"), "2"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout, done.stderr)
    assert_same(outcome(given), single)


def config(index: int, ports: list[int]) -> str:
    addresses = [f"127.0.0.1:{port}" for port in ports]
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def worker(folder: Path, index: int, ports: list[int], log) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "components.worker", str(folder)]
    environment = {**os.environ, VARIABLE: config(index, ports)}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        yield child


def test_multi(data: Data, single: Outcome, tmp_path: Path, monkeypatch) -> None:
    given = arguments(data, tmp_path, "multi_worker")
    ports = free_ports(2)
    monkeypatch.setenv(VARIABLE, config(0, ports))
    monkeypatch.chdir(ROOT)
    log = open("/tmp/h/exp/worker.log", "w")
    with worker(tmp_path / "checkpoints", 1, ports, log) as other:
        run_fn(SimpleNamespace(**given))
        print("code", other.wait(60))
    assert_same(outcome(given), single)
