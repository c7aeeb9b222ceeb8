"""Several devices and several processes learn what one device learns."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components import initial_weights, run_record, weights_file
from components import progress as reporting
from components.checkpoints import Checkpoints
from components.class_names import with_classes
from components.cluster import VARIABLE
from components.distribution import train_mirrored
from components.errors import UsageError
from components.task import set_up, task_of
from components.training import run_fn, train
from components.versions import EXTRA_ASSETS
from components.worker import TASK_FILE
from models.optim import OptimizerConfig
from models.variants import variant
from models.vit import build_vit
from tests.components.material import CLASSES, good_records, write_shard

# Keras, of how it reads TensorFlow's variables to write them down.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

ROOT = Path(__file__).parents[2]
# The last batch of an epoch has one image: of two replicas one gets none.
TRAIN, EVAL, BATCH, EPOCHS = 9, 7, 4, 3
MODEL = variant("vit_tiny", depth=1)
CURVES = {
    f"{split}{name}"
    for split in ("", "eval_")
    for name in ("loss", "top_1_accuracy", "top_5_accuracy")
}


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


def arguments(data: Data, root: Path, strategy: str, init_from: str = "") -> dict[str, Any]:
    """FnArgs of a training below `root`, as JSON values."""
    return {
        "train_files": [data.train],
        "eval_files": [data.eval],
        "schema_path": data.schema,
        "transform_graph_path": data.graph,
        "serving_model_dir": str(root / "model"),
        "model_run_dir": str(root / "model_run"),
        "custom_config": {
            "model": dataclasses.asdict(MODEL),
            "optimizer": dataclasses.asdict(OptimizerConfig(learning_rate=1e-2, clipnorm=1.0)),
            "trainer": {
                "epochs": EPOCHS,
                "batch_size": BATCH,
                "augmentation": "crop_flip",
                "label_smoothing": 0.1,
                "strategy": strategy,
                "init_from": init_from,
            },
            "checkpoint_dir": str(root / "checkpoints"),
        },
    }


@dataclass(frozen=True)
class Outcome:
    """What is left of a training."""

    history: dict[str, list[float]]
    weights: list[np.ndarray]


def outcome(given: dict[str, Any]) -> Outcome:
    task = task_of(SimpleNamespace(**given))
    model = set_up(task).model(task.config)
    progress = Checkpoints(task.checkpoints).restore(model)
    return Outcome(progress.history, [np.array(weight) for weight in model.weights])


def assert_same(found: Outcome, expected: Outcome) -> None:
    assert set(found.history) == set(expected.history) == CURVES | {"seconds"}
    for name in CURVES:
        assert len(found.history[name]) == EPOCHS
        np.testing.assert_allclose(found.history[name], expected.history[name], rtol=1e-4)
    for one, other in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.fixture(scope="module")
def single(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What one device learns, by Keras's own loop."""
    return alone(arguments(data, tmp_path_factory.mktemp("single"), "none"))


def alone(given: dict[str, Any]) -> Outcome:
    task = task_of(SimpleNamespace(**given))
    train(task, set_up(task))
    return outcome(given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights that another training left."""
    folder = tmp_path_factory.mktemp("trained")
    initial_weights.save(build_vit(MODEL, len(CLASSES), seed=99), CLASSES, str(folder))
    return str(folder / EXTRA_ASSETS / weights_file.NAME)


def test_one_device_learns_something(single: Outcome) -> None:
    losses = single.history["loss"]
    assert max(losses) - min(losses) > 0.1


def test_two_devices_learn_what_one_does_though_they_were_interrupted(
    data: Data, single: Outcome, tmp_path: Path
) -> None:
    assert_same(mirrored(arguments(data, tmp_path, "mirrored")), single)


def test_two_devices_start_from_trained_weights_as_one_does(
    data: Data, single: Outcome, trained: str, tmp_path: Path
) -> None:
    expected = alone(arguments(data, tmp_path / "single", "none", trained))
    assert abs(expected.history["loss"][0] - single.history["loss"][0]) > 0.01
    assert_same(mirrored(arguments(data, tmp_path, "mirrored", trained)), expected)


def mirrored(given: dict[str, Any]) -> Outcome:
    """What is learnt by a process with two devices, that is interrupted after an epoch."""
    file = Path(given["model_run_dir"]).with_name("task.json")
    task_of(SimpleNamespace(**given)).write(file)
    command = [sys.executable, "-m", "tests.components.mirrored_run", str(file)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "broken off after 1" in done.stdout
    return outcome(given)


def test_mirrored_is_ordinary_on_one_device(data: Data, tmp_path: Path) -> None:
    given = arguments(data, tmp_path, "mirrored")
    train_mirrored(task_of(SimpleNamespace(**given)))
    assert not (tmp_path / "checkpoints").exists()


def config(index: int, ports: list[int]) -> str:
    addresses = [f"127.0.0.1:{port}" for port in ports]
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def worker(folder: Path, value: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command that is started beside the pipeline, in a folder of its own."""
    home = folder.parent / "worker"
    home.mkdir()
    environment = {**os.environ, VARIABLE: value, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-m", "components.worker", str(folder), *options],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def test_two_processes_learn_what_one_does_and_the_chief_alone_writes(
    data: Data, single: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = arguments(data, tmp_path, "multi_worker")
    ports, checkpoints = free_ports(2), tmp_path / "checkpoints"
    monkeypatch.setenv(VARIABLE, config(0, ports))
    monkeypatch.chdir(ROOT)
    heard: list[tuple[str, dict[str, Any]]] = []
    with worker(checkpoints, config(1, ports)) as other:
        with reporting.listening(lambda event, values: heard.append((event, values))):
            run_fn(SimpleNamespace(**given))
        said, _ = other.communicate(timeout=300)
    assert other.returncode == 0, said
    assert "worker 1 of 2 processes: done" in said
    assert_same(outcome(given), single)
    told = [values for event, values in heard if event == "epoch"]
    assert [values["epoch"] for values in told] == [1, 2, 3]
    assert run_record.read_history(str(tmp_path / "model_run")) == {
        name: [values["logs"][name] for values in told] for name in told[0]["logs"]
    }
    assert (tmp_path / "model/saved_model.pb").is_file()
    assert [path.name for path in checkpoints.glob("*/*")] == [f"epoch-{EPOCHS:05d}"]
    assert not (checkpoints / TASK_FILE).exists()
    assert list((tmp_path / "worker").iterdir()) == []


@pytest.mark.parametrize(("value", "message"), [("", "needs TF_CONFIG"), ("{", "is not JSON")])
def test_without_a_cluster_nothing_is_trained(
    value: str, message: str, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(UsageError, match=message):
        run_fn(SimpleNamespace(**arguments(data, tmp_path, "multi_worker")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("index", "message"), [(0, "worker 0 of 2 processes is the chief"), (None, "needs TF_CONFIG")]
)
def test_a_worker_refuses_what_is_not_its_own(
    index: int | None, message: str, tmp_path: Path
) -> None:
    value = "" if index is None else config(index, [1, 2])
    with worker(tmp_path / "checkpoints", value) as child:
        said, _ = child.communicate(timeout=300)
    assert child.returncode == 2
    assert message in said


def test_a_worker_does_not_wait_for_ever(tmp_path: Path) -> None:
    with worker(tmp_path / "checkpoints", config(1, [1, 2]), "--wait", "0") as child:
        said, _ = child.communicate(timeout=300)
    assert child.returncode == 1
    assert "no training came within 0 s" in said
    assert "Traceback" not in said
