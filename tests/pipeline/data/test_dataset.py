import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from components.errors import DataError, UsageError
from pipeline.data import dataset, synthetic
from pipeline.data.dataset import read_dataset
from pipeline.data.options import SyntheticConfig

LABELS = {"train": [0, 1, 2, 2, 1, 0, 3], "validation": [3, 1], "test": [0, 7]}


def example(label: int | None) -> bytes:
    made = tf.train.Example()
    made.features.feature["id"].bytes_list.value.append(b"train_16399")
    made.features.feature["image"].bytes_list.value.append(b"\x89PNG")
    if label is not None:
        made.features.feature["label"].int64_list.value.append(label)
    return made.SerializeToString()


def write(path: Path, labels: list[int | None], compression: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for label in labels:
            writer.write(example(label))


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A data set as TensorFlow Datasets writes CIFAR-10, in folders of splits."""
    for split, labels in LABELS.items():
        half = len(labels) // 2
        shard = tmp_path / split / f"cifar10-{split}.tfrecord-00000-of-00002"
        write(shard, list(labels[:half]))
        write(shard.with_name(shard.name.replace("00000-", "00001-")), list(labels[half:]), "GZIP")
    return tmp_path


def test_a_foreign_data_set_is_read_without_labels_txt(foreign: Path) -> None:
    data = read_dataset(foreign)
    assert data.class_names == ("0", "1", "2", "3")
    assert data.examples == {"train": 7, "eval": 2, "test": 2}
    assert data.label_counts["train"] == {0: 2, 1: 2, 2: 2, 3: 1}
    assert data.splits["eval"].folder == foreign / "validation"
    assert [shard.gzip for shard in data.splits["train"].shards] == [False, True]
    assert [path.name for path in data.files["test"]] == [
        f"cifar10-test.tfrecord-0000{index}-of-00002" for index in range(2)
    ]


def test_labels_outside_the_classes_are_counted_and_not_refused(foreign: Path) -> None:
    write(foreign / "train" / "x.tfrecord", [-1, None])
    data = read_dataset(foreign)
    assert data.label_counts["train"][-1] == 1
    assert data.examples["train"] == 9
    assert data.label_counts["test"] == {0: 1, 7: 1}
    assert data.splits["test"].per_class(4) == [1, 0, 0, 0]


def test_class_names_come_from_labels_txt(foreign: Path) -> None:
    (foreign / "labels.txt").write_text("cat\ndog\n")
    assert read_dataset(foreign).class_names == ("cat", "dog")
    (foreign / "labels.txt").write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match="one distinct class name a line"):
        read_dataset(foreign)


def test_the_digest_follows_content_and_names_of_classes(foreign: Path) -> None:
    first = read_dataset(foreign).digest
    assert read_dataset(foreign).digest == first
    (foreign / "labels.txt").write_text("a\nb\nc\nd\n")
    named = read_dataset(foreign).digest
    write(foreign / "test" / "more.tfrecord", [1])
    assert len({first, named, read_dataset(foreign).digest}) == 3


def test_a_missing_or_doubled_split_is_told(foreign: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        read_dataset(foreign / "nothing")
    (foreign / "val").mkdir()
    with pytest.raises(DataError, match="has both validation/ and val/"):
        read_dataset(foreign)
    (foreign / "val").rmdir()
    (foreign / "validation").rename(foreign / "dev")
    with pytest.raises(DataError, match="has no folder eval/ or validation/ or val/"):
        read_dataset(foreign)


def test_a_split_without_records_is_refused(foreign: Path) -> None:
    for path in (foreign / "test").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="test holds no records"):
        read_dataset(foreign)


@pytest.mark.parametrize("content", [b"{}", b"", b"\x1f\x8b broken"])
def test_a_file_that_is_no_shard_is_named(foreign: Path, content: bytes) -> None:
    (foreign / "train" / "dataset_info.json").write_bytes(content)
    if content:
        with pytest.raises(DataError, match=r"train/dataset_info\.json is damaged"):
            read_dataset(foreign)
    else:
        assert read_dataset(foreign).examples["train"] == 7


def test_a_folder_among_the_shards_is_named(foreign: Path) -> None:
    (foreign / "train" / "more").mkdir()
    with pytest.raises(DataError, match="may hold only TFRecord files"):
        read_dataset(foreign)


def test_records_that_are_no_examples_are_named(foreign: Path) -> None:
    with tf.io.TFRecordWriter(str(foreign / "train" / "x.tfrecord")) as writer:
        writer.write(example(1))
        writer.write(b"\xff\xff")
    with pytest.raises(DataError, match=r"x\.tfrecord: record 1 is no tf\.train\.Example"):
        read_dataset(foreign)


def test_a_wild_label_does_not_make_millions_of_classes(foreign: Path) -> None:
    write(foreign / "train" / "x.tfrecord", [2**60])
    with pytest.raises(DataError, match="the largest label of the training split"):
        read_dataset(foreign)
    (foreign / "labels.txt").write_text("a\nb\n")
    assert read_dataset(foreign).label_counts["train"][2**60] == 1


def test_our_manifest_says_what_the_records_say(tmp_path: Path) -> None:
    synthetic.prepare(SyntheticConfig(train=40, eval=20, test=10), tmp_path / "out")
    by_manifest = read_dataset(tmp_path / "out")
    (tmp_path / "out/manifest.json").unlink()
    assert read_dataset(tmp_path / "out") == by_manifest
    assert by_manifest.class_names == synthetic.CLASS_NAMES


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"format": 1}', "kind: "),
        ('{"format": 1, "splits": 3}', "kind: "),
        ("SPLITS", "splits: "),
        ("TEST", r"splits\.test: missing"),
        ("SHARD", r"splits\.train\.shards\.0\.sha256: "),
    ],
)
def test_a_manifest_that_lacks_something_is_told(tmp_path: Path, text: str, problem: str) -> None:
    manifest = synthetic.prepare(SyntheticConfig(train=40, eval=20, test=10), tmp_path / "out")
    shard = {"file": "part-00000.tfrecord.gz", "examples": 40, "bytes": 1}
    texts = {
        "SPLITS": {key: value for key, value in manifest.items() if key != "splits"},
        "TEST": manifest | {"splits": {key: manifest["splits"][key] for key in ("train", "eval")}},
        "SHARD": manifest | {"splits": {"train": {"shards": [shard]}}},
    }
    (tmp_path / "out/manifest.json").write_text(json.dumps(texts[text]) if text in texts else text)
    with pytest.raises(DataError, match=rf"manifest\.json is damaged \({problem}.* prepare again"):
        read_dataset(tmp_path / "out")


def test_a_folder_in_place_of_the_labels_or_the_manifest_is_told(foreign: Path) -> None:
    for name in ("labels.txt", "manifest.json"):
        (foreign / name).mkdir()
        with pytest.raises(DataError, match=rf"--data: .*{name}: Is a directory"):
            read_dataset(foreign)
        (foreign / name).rmdir()


def test_an_unreadable_shard_is_told(open_folder: Path, as_nobody: Callable) -> None:
    for name in ("train", "eval", "test"):
        write(open_folder / name / "x.tfrecord", [0])
    (open_folder / "test" / "x.tfrecord").chmod(0)
    with as_nobody(), pytest.raises(DataError, match=r"--data: .*x\.tfrecord: Permission denied"):
        read_dataset(open_folder)


def test_a_file_more_than_the_manifest_names_is_refused(tmp_path: Path) -> None:
    synthetic.prepare(SyntheticConfig(train=40, eval=20, test=10), tmp_path / "out")
    (tmp_path / "out/train/.DS_Store").write_bytes(b"x")
    with pytest.raises(DataError, match="is not in the manifest"):
        read_dataset(tmp_path / "out")


@pytest.mark.parametrize("name", ["d[1]", "d*", "d?", "d\\1"])
def test_a_path_that_tfx_would_read_as_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    config = SyntheticConfig(train=40, eval=20, test=10)
    synthetic.prepare(config, tmp_path / "d1")
    synthetic.prepare(config, tmp_path / name)
    with pytest.raises(UsageError, match=r"as a wildcard.* rename it, or give a symbolic link"):
        read_dataset(tmp_path / name)
    (tmp_path / "plain").symlink_to(tmp_path / name)
    assert read_dataset(tmp_path / "plain").directory == tmp_path / "plain"
    assert tf.io.gfile.glob(str(tmp_path / "plain" / "test" / "*")) == [
        str(path) for path in read_dataset(tmp_path / "plain").files["test"]
    ]


def test_a_shard_whose_name_is_a_pattern_is_refused(foreign: Path) -> None:
    write(foreign / "train" / "x[1].tfrecord", [1])
    with pytest.raises(UsageError, match=r"reads \[ in a path as a wildcard.*x\[1\]\.tfrecord"):
        read_dataset(foreign)


def test_the_names_of_eval_folders_do_not_overlap() -> None:
    names = [name for names in dataset._FOLDERS.values() for name in names]
    assert len(names) == len(set(names))
