"""TFRecords are read whatever their names say of their compression."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.components.material import good_records, write_shard

ROOT = Path(__file__).parents[2]
# Beam in a process of its own: what it leaves behind is no matter of the tests.
READER = """
import json, os, sys
import apache_beam as beam
from components import examples

def show(example):
    value = example.features.feature["id"].bytes_list.value[0].decode()
    return "found " + value

base, *patterns = sys.argv[1:]
for pattern in patterns:
    with beam.Pipeline(runner="DirectRunner") as pipeline:
        executor = examples.ImportExampleGen.EXECUTOR_SPEC.executor_class()
        read = executor.GetInputSourceToExamplePTransform()
        _ = pipeline | read({"input_base": base}, pattern) | beam.Map(show) | beam.Map(print)
    print("end", flush=True)
sys.stdout.flush()
os._exit(0)
"""


def read(base: Path, *patterns: str) -> list[list[str]]:
    """Ids that each pattern gives, sorted."""
    done = subprocess.run(
        [sys.executable, "-c", READER, str(base), *patterns],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *parts, _ = done.stdout.split("end\n")
    return [sorted(re.findall("found (.*)", part)) for part in parts]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "train"
    write_shard(folder / "cifar10-train.tfrecord-00000-of-00002", good_records(2), "GZIP")
    write_shard(folder / "cifar10-train.tfrecord-00001-of-00002", good_records(2, 2), "")
    write_shard(folder / "own.tfrecord.gz", good_records(2, 4), "GZIP")
    write_shard(folder / "misnamed.gz", good_records(2, 6), "")
    (folder / "empty.tfrecord").write_bytes(b"")
    write_shard(tmp_path / "eval/own.tfrecord", good_records(1, 8), "")
    return tmp_path


def test_gzip_is_told_by_content_and_a_pattern_gives_its_split(data: Path) -> None:
    train, eval_ = read(data, "train/*", "eval/*")
    assert train == [f"id-{number}" for number in range(8)]
    assert eval_ == ["id-8"]


def test_a_shard_that_is_cut_off_is_an_error(data: Path) -> None:
    shard = data / "train/misnamed.gz"
    os.truncate(shard, shard.stat().st_size - 7)
    with pytest.raises(AssertionError, match="Not a valid TFRecord"):
        read(data, "train/*")


def test_the_node_names_folder_and_splits() -> None:
    from components import contract, examples

    patterns = {split: f"{split}/*" for split in contract.SPLITS}
    node = examples.import_examples("/data", patterns)
    assert node.exec_properties["input_base"] == "/data"
    text = str(node.exec_properties["input_config"])
    assert all(f'"{split}/*"' in text for split in contract.SPLITS)
    assert node.executor_spec.executor_class is examples._ImportExecutor
    assert node.id == "ImportExampleGen"


def test_an_edit_of_the_reader_reads_anew() -> None:
    from components import digests, examples

    node = examples.import_examples("/data", {"train": "train/*"})
    assert digests.source_digest("components.examples") in str(node.exec_properties)
