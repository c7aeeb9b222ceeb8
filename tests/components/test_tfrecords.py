"""Records come out as they went in, in order."""

from pathlib import Path

import pytest
import tensorflow as tf

from components import tfrecords
from tests.components.material import good_records, write_shard


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two shards of the same ten records, written in the wrong order."""
    records = good_records(10)
    write_shard(tmp_path / "split" / "b.gz", records[6:])
    write_shard(tmp_path / "split" / "a.gz", records[:6])
    return tfrecords.shard_paths(str(tmp_path / "split"))


def test_shards_are_sorted(files: list[str]) -> None:
    assert [Path(file).name for file in files] == ["a.gz", "b.gz"]


@pytest.mark.parametrize(("number", "expected"), [(0, 0), (4, 4), (7, 7), (10, 10), (99, 10)])
def test_the_first_ones_may_lie_in_several_shards(
    files: list[str], number: int, expected: int
) -> None:
    assert tfrecords.first(files, number) == good_records(10)[:expected]


def test_records_are_counted_over_all_files(files: list[str]) -> None:
    assert (tfrecords.count(files), tfrecords.count(files[:1])) == (10, 6)


def test_the_image_is_the_same_from_bytes_and_from_a_message() -> None:
    (record,) = good_records(1)
    image = tfrecords.encoded_image(record)
    assert image.startswith(b"\x89PNG")
    assert tfrecords.encoded_image(tf.train.Example.FromString(record)) == image
