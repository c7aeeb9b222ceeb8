"""TensorFlow is the independent reference of the format."""

import gzip
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components.errors import DataError
from pipeline.data.records import Record, frame, is_gzip, read_frames
from pipeline.data.wire import int64_feature, varint

RECORDS = [Record("a/b c.png", b"\x89PNG", 3), Record("ü", bytes(200), 0), Record("", b"", 2**40)]


def shard(folder: Path, data: bytes, name: str = "x") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_tensorflow_reads_what_we_write(tmp_path: Path) -> None:
    path = shard(tmp_path, gzip.compress(b"".join(frame(record) for record in RECORDS)))
    read = list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator())
    for data, record in zip(read, RECORDS, strict=True):
        feature = tf.train.Example.FromString(data).features.feature
        assert set(feature) == {"id", "image", "label"}
        assert feature["id"].bytes_list.value[0].decode() == record.id
        assert list(feature["image"].bytes_list.value) == [record.image]
        assert list(feature["label"].int64_list.value) == [record.label]


@pytest.mark.parametrize("compression", ["GZIP", ""])
def test_we_read_what_tensorflow_writes(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "x"
    written = [bytes([index]) * index for index in range(40)]
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for data in written:
            writer.write(data)
    assert list(read_frames(path)) == written
    assert is_gzip(path) == (compression == "GZIP")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), st.lists(st.floats(), max_size=3))
def test_labels_are_parsed_as_protobuf_parses_them(labels: list[int], floats: list[float]) -> None:
    example = tf.train.Example()
    example.features.feature["label"].int64_list.value.extend(labels)
    example.features.feature["other"].float_list.value.extend(floats)
    example.features.feature["image"].bytes_list.value.append(b"label")
    data = example.SerializeToString()
    assert int64_feature(data, b"label") == labels
    assert int64_feature(data, b"missing") is None


def test_unpacked_labels_are_read() -> None:
    # One field a value, as older writers do: feature > int64_list > value 5, then 6.
    values = b"\x08\x05\x08\x06"
    feature = b"\x1a" + varint(len(values)) + values
    entry = b"\x0a\x05label\x12" + varint(len(feature)) + feature
    features = b"\x0a" + varint(len(entry)) + entry
    data = b"\x0a" + varint(len(features)) + features
    assert tf.train.Example.FromString(data).features.feature["label"].int64_list.value == [5, 6]
    assert int64_feature(data, b"label") == [5, 6]


@given(st.binary(max_size=60))
def test_random_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        values = int64_feature(data, b"label")
    except ValueError:
        return
    assert values is None or all(isinstance(value, int) for value in values)


DAMAGE = {
    "cut in a record": (lambda data: data[:-3], "cut off at byte 16"),
    "cut in a length": (lambda data: data[:20], "cut off at byte 16"),
    "changed data": (lambda data: data[:-5] + b"x" + data[-4:], "wrong checksum at byte 16"),
    "changed length": (lambda data: b"\xff" + data[1:], "wrong checksum at byte 0"),
    "no TFRecord": (lambda data: b"just some text, no records at all", "byte 0"),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("compressed", [True, False])
def test_a_damaged_file_is_named_with_the_place(
    tmp_path: Path, kind: str, compressed: bool
) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "good")) as writer:
        writer.write(b"")
        writer.write(b"second")
    change, told = DAMAGE[kind]
    data = change((tmp_path / "good").read_bytes())
    path = shard(tmp_path, gzip.compress(data) if compressed else data, "bad.tfrecord")
    with pytest.raises(DataError, match=told) as caught:
        list(read_frames(path))
    assert "bad.tfrecord is damaged" in str(caught.value)


def test_a_gzip_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(frame(record) for record in RECORDS))
    path = shard(tmp_path, whole[: len(whole) // 2], "half.gz")
    with pytest.raises(DataError, match=r"half\.gz is damaged"):
        list(read_frames(path))
