"""Bad data stop a run before Transform; tolerated, they are dropped and told."""

import gzip
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from tests.e2e.conftest import Result, Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]

GIF = b"GIF89a" + b"\x40\x9c\x40\x9c" + bytes(64)


def read(data: Path, split: str) -> list[tf.train.Example]:
    files = sorted(str(path) for path in (data / split).iterdir())
    records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(record) for record in records]


def write(path: Path, examples: Sequence[tf.train.Example]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example.SerializeToString())


def spoilt(examples: list[tf.train.Example]) -> Iterator[tf.train.Example]:
    """Four bad records: not an image, a wrong label, no label, half an image."""
    for position, example in enumerate(examples):
        features = example.features.feature
        features["id"].bytes_list.value[:] = [f"picture-{position}".encode()]
        if position == 3:
            features["image"].bytes_list.value[:] = [GIF]
        elif position == 5:
            features["label"].int64_list.value[:] = [12]
        elif position == 7:
            del features["label"]
        elif position == 9:
            whole = features["image"].bytes_list.value[0]
            features["image"].bytes_list.value[:] = [whole[: len(whole) // 2]]
        yield example


@pytest.fixture(scope="module")
def foreign(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TFRecords in the layout of TensorFlow Datasets, some bad: no manifest, no labels.txt,
    no endings, packed and plain files side by side, another name for the eval folder.
    """
    folder = tmp_path_factory.mktemp("foreign")
    train = list(spoilt(read(data, "train")))
    write(folder / "train" / "shapes-train.tfrecord-00000-of-00002", train[:100])
    second = folder / "train" / "shapes-train.tfrecord-00001-of-00002"
    write(second, train[100:])
    second.write_bytes(gzip.compress(second.read_bytes()))
    write(folder / "validation" / "shapes-validation.tfrecord-00000-of-00001", read(data, "eval"))
    write(folder / "test" / "shapes-test.tfrecord-00000-of-00001", read(data, "test"))
    # Without names the classes are those of the labels: 12 must not become one of them.
    shutil.copy(data / "labels.txt", folder / "labels.txt")
    return folder


def test_bad_records_stop_the_run_before_transform(
    first: Result, workspace: Workspace, foreign: Path
) -> None:
    before = workspace.versions
    refused = workspace.run(data=foreign)
    assert refused.code == 2 and refused.summary["status"] == "data_refused"
    assert refused.summary["failed_component"] == "ValidationGate"
    assert "Transform" not in refused.states and "Trainer" not in refused.states
    message = refused.summary["message"]
    for expected in (
        "split train, feature image: 2 bad records",
        "split train, feature label: 2 bad records",
        "picture-3, image: not a PNG or JPEG",
        "picture-5, label: 12 is outside the domain 0 .. 9",
        "picture-7, label: missing",
        "picture-9, image: ",
        "--max-bad-records 4",
    ):
        assert expected in message
    assert workspace.versions == before


def test_tolerated_bad_records_are_dropped_and_reported(
    foreign: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    workspace = Workspace(foreign, tmp_path_factory.mktemp("tolerant"))
    passed = workspace.run(
        "--max-bad-records", "4", "--set", "trainer.epochs=1", "--set", "gate.top_k_accuracy=0"
    )
    assert passed.code == 0
    assert [entry["id"] for entry in passed.summary["data"]["dropped"]] == [
        "picture-3",
        "picture-5",
        "picture-7",
        "picture-9",
    ]
    (kept,) = (workspace.root / "artifacts" / "ValidationGate" / "validated").iterdir()
    files = [str(path) for path in (kept / "Split-train").iterdir()]
    assert sum(1 for _ in tf.data.TFRecordDataset(files, "GZIP")) == 320 - 4
    page = workspace.root / "runs" / passed.summary["run_id"] / "report.html"
    assert "picture-9" in page.read_text()
