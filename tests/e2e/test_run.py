"""Runs in one work directory: the first, reruns, and candidates that are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline import cli
from pipeline.workdir import WorkDir
from tests.e2e.conftest import Result, Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]

STAGES = [
    "ImportExampleGen",
    "ReviewedSchema",
    "StatisticsGen",
    "ExampleValidator",
    "ValidationGate",
    "Transform",
    "Trainer",
    "Baseline",
    "ServingCheck",
    "Evaluator",
    "Pusher",
]


def test_first_run_pushes_a_blessed_model(first: Result, workspace: Workspace) -> None:
    summary = first.summary
    assert first.code == 0 and summary["status"] == "pushed" and summary["blessed"] is True
    assert sorted(first.states) == sorted(STAGES)
    assert set(first.states.values()) == {"done"}
    assert summary["baseline"] is None
    pushed = Path(summary["pushed_path"])
    assert pushed.is_absolute() and pushed.parent == workspace.root / "serving" / "vit"
    assert (pushed / "saved_model.pb").is_file()
    assert (pushed / "assets.extra" / "tf_serving_warmup_requests").is_file()
    recorded = json.loads((pushed / "assets.extra" / "provenance.json").read_text())
    assert {key: recorded[key] for key in ("data", "code", "config")} == summary["digests"]


def test_metrics_are_those_of_the_pushed_model(first: Result, workspace: Workspace) -> None:
    """Independent of TFMA: the pushed model answers the test split's own bytes."""
    files = sorted(map(str, (workspace.data / "test").iterdir()))
    serialized = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    features = [tf.train.Example.FromString(item).features.feature for item in serialized]
    labels = np.array([feature["label"].int64_list.value[0] for feature in features])
    model = tf.saved_model.load(first.summary["pushed_path"])
    images = [feature["image"].bytes_list.value[0] for feature in features]
    answers = model.signatures["serve_images"](images=tf.constant(images))
    probabilities = answers["probabilities"].numpy()
    order = np.argsort(-probabilities, axis=1)
    metrics = first.summary["metrics"]
    assert metrics["examples"] == len(labels) == 80
    assert metrics["top_1_accuracy"] == pytest.approx((order[:, 0] == labels).mean(), abs=1e-6)
    top_5 = (order[:, :5] == labels[:, None]).any(axis=1).mean()
    assert metrics["top_5_accuracy"] == pytest.approx(top_5, abs=1e-6)
    likelihood = probabilities[np.arange(len(labels)), labels]
    assert metrics["loss"] == pytest.approx(-np.log(likelihood).mean(), abs=1e-4)
    names = np.array(first.summary["data"]["classes"])
    assert (answers["top_classes"].numpy().astype(str) == names[order[:, :5]]).all()


def test_run_leaves_report_curves_and_logs(first: Result, workspace: Workspace) -> None:
    folder = workspace.root / "runs" / first.summary["run_id"]
    page = (folder / "report.html").read_text()
    assert all(name in page for name in first.summary["data"]["classes"])
    assert f"{first.summary['metrics']['top_5_accuracy'] * 100:.2f}" in page
    model_runs = (workspace.root / "artifacts" / "Trainer" / "model_run").iterdir()
    model_run = min(model_runs, key=lambda folder: int(folder.name))  # the first run's
    assert (model_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list(model_run.glob("logs/eval/events.out.tfevents.*"))
    history = json.loads((model_run / "history.json").read_text())
    assert len(history["eval_top_1_accuracy"]) == 3


def test_rerun_executes_nothing_and_names_the_pushed_version(
    first: Result, workspace: Workspace
) -> None:
    again = workspace.run()
    assert again.code == 0
    assert set(again.states.values()) == {"cached"}
    assert again.summary["pushed_path"] == first.summary["pushed_path"]
    assert again.summary["already_pushed"] is True
    assert again.summary["metrics"] == first.summary["metrics"]


def test_model_below_the_threshold_is_not_pushed(first: Result, workspace: Workspace) -> None:
    before = workspace.versions
    refused = workspace.run("--set", "gate.top_k_accuracy=1.01")
    assert refused.code == 3
    assert refused.summary["status"] == "model_refused"
    assert refused.summary["blessed"] is False and refused.summary["pushed_path"] is None
    assert "1.01" in refused.summary["refusals"][0]
    assert workspace.versions == before
    executed = {name for name, state in refused.states.items() if state != "cached"}
    assert executed == {"Evaluator", "Pusher"}


def test_worse_candidate_loses_against_the_baseline(first: Result, workspace: Workspace) -> None:
    """A hyperparameter changed: the data stages are cached, the rest runs and refuses."""
    before = workspace.versions
    worse = workspace.run("--set", "optimizer.learning_rate=1e-9", "--set", "gate.top_k_accuracy=0")
    assert worse.code == 3 and workspace.versions == before
    executed = {name for name, state in worse.states.items() if state != "cached"}
    assert executed == {"Trainer", "Baseline", "Evaluator", "ServingCheck", "Pusher"}
    assert worse.summary["baseline"]["metrics"] == first.summary["metrics"]
    assert "latest blessed" in worse.summary["refusals"][0]


def test_bad_setting_is_refused_before_anything_starts(
    first: Result, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = len(list((workspace.root / "runs").iterdir()))
    assert workspace.run("--set", "gate.top_k_acuracy=0.5").code == 2
    assert "gate.top_k_accuracy" in capsys.readouterr().err
    assert len(list((workspace.root / "runs").iterdir())) == runs


def test_second_run_in_one_work_directory_is_refused(
    first: Result, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    with WorkDir(workspace.root).locked():
        assert workspace.run().code == 1
    assert "in use by process" in capsys.readouterr().err


def test_pushed_version_that_is_gone_is_pushed_again(first: Result, workspace: Workspace) -> None:
    gone = Path(first.summary["pushed_path"])
    shutil.rmtree(gone)
    again = workspace.run()
    assert again.code == 0
    assert {name for name, state in again.states.items() if state != "cached"} == {"Pusher"}
    new = Path(again.summary["pushed_path"])
    assert (new / "saved_model.pb").is_file() and int(new.name) > int(gone.name)
    assert set(workspace.run().states.values()) == {"cached"}


def test_rollback_serves_an_earlier_version_under_a_new_number(
    first: Result, workspace: Workspace
) -> None:
    folder = workspace.root / "serving" / "vit"
    earlier, other = workspace.versions[-1], workspace.versions[-1] + 1
    shutil.copytree(folder / str(earlier), folder / str(other))
    (folder / str(other) / "fingerprint.pb").write_bytes(b"another model")
    arguments = ["rollback", "--workdir", str(workspace.root), "--to"]
    assert cli.main([*arguments, str(earlier)]) == 0
    assert workspace.versions[-1] > other
    newest = folder / str(workspace.versions[-1])
    assert (newest / "saved_model.pb").read_bytes() == (
        folder / str(earlier) / "saved_model.pb"
    ).read_bytes()
    assert cli.main([*arguments, "7"]) == 2
    for version in (other, workspace.versions[-1]):
        shutil.rmtree(folder / str(version))


def test_clean_keeps_what_the_newest_run_and_the_next_one_need(
    first: Result, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    models = workspace.root / "artifacts" / "Trainer" / "model"
    orphan = workspace.root / "artifacts" / "Trainer" / "model" / "999"
    orphan.mkdir()
    assert workspace.run().code == 0
    assert cli.main(["clean", "--workdir", str(workspace.root), "--keep", "1"]) == 0
    assert "removed" in capsys.readouterr().out
    assert not orphan.exists() and len(list(models.iterdir())) == 1
    assert set(workspace.run().states.values()) == {"cached"}
    with WorkDir(workspace.root).locked():
        assert cli.main(["clean", "--workdir", str(workspace.root), "--keep", "1"]) == 1
