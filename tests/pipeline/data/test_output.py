import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.errors import DataError, UsageError
from pipeline.data import output
from pipeline.data.dataset import read_dataset
from pipeline.data.records import Record

Contents = Callable[[Path], dict[str, bytes]]


def records(split: str, count: int) -> Iterator[Record]:
    for index in range(count):
        yield Record(f"{split}{index}", bytes([index % 7]) * 50, index % 2)


def make(target: Path, count: int = 9) -> dict:
    splits = {split: records(split, count) for split in ("train", "eval", "test")}
    with output.staging(target) as folder:
        return output.write(folder, "test", "input", output.Prepared(("no", "yes"), splits))


def test_the_manifest_tells_counts_and_digests_but_no_place_or_time(tmp_path: Path) -> None:
    made = make(tmp_path / "one")
    text = (tmp_path / "one/manifest.json").read_text()
    assert json.loads(text) == made
    assert made["splits"]["train"]["per_class"] == [5, 4]
    (shard,) = made["splits"]["train"]["shards"]
    path = tmp_path / "one/train" / shard["file"]
    assert shard["sha256"] == output.file_digest(path)
    assert shard["bytes"] == path.stat().st_size
    assert str(tmp_path) not in text
    assert time.strftime("%Y") not in text


def test_the_same_records_give_the_same_bytes(tmp_path: Path, contents: Contents) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_shards_are_cut_by_number_and_by_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_SHARD_RECORDS", 4)
    made = make(tmp_path / "by number")
    shards = made["splits"]["test"]["shards"]
    assert [shard["examples"] for shard in shards] == [4, 4, 1]
    assert [shard["file"] for shard in shards] == [
        f"part-0000{index}.tfrecord.gz" for index in range(3)
    ]
    monkeypatch.setattr(output, "_SHARD_BYTES", 250)
    made = make(tmp_path / "by size", 5)
    assert [shard["examples"] for shard in made["splits"]["test"]["shards"]] == [2, 2, 1]
    assert read_dataset(tmp_path / "by size").examples["test"] == 5


def test_an_output_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds 'notes\.txt'; remove it"):
        output.already_made(tmp_path, "input")
    with pytest.raises(UsageError, match="is no folder"):
        output.already_made(tmp_path / "notes.txt", "input")
    make(tmp_path / "out")
    with pytest.raises(UsageError, match="data made of another input"):
        output.already_made(tmp_path / "out", "other input")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_empty_output_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert output.already_made(tmp_path / "out", "input") is None
    make(tmp_path / "out")
    assert output.already_made(tmp_path / "out", "input") is not None


def test_a_changed_file_is_told(tmp_path: Path) -> None:
    make(tmp_path / "out")
    shard = tmp_path / "out/eval/part-00000.tfrecord.gz"
    shard.write_bytes(shard.read_bytes() + b"\0")
    with pytest.raises(DataError, match="is not the file that was prepared"):
        output.already_made(tmp_path / "out", "input")
    shard.unlink()
    with pytest.raises(DataError, match="is missing"):
        read_dataset(tmp_path / "out")


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[Record]:
        yield from records("train", 3)
        raise DataError("told by the source")

    with (
        pytest.raises(DataError, match="told by the source"),
        output.staging(tmp_path / "out") as folder,
    ):
        output.write(folder, "test", "input", output.Prepared(("no", "yes"), {"train": failing()}))
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_nothing_visible_and_the_next_one_cleans_up(
    tmp_path: Path, contents: Contents
) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from pipeline.data import output\n"
        "with output.staging(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('written')\n"
        "    print('staged', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "staged\n"
        with pytest.raises(UsageError, match="another process is preparing"):
            make(tmp_path / "out")
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    make(tmp_path / "out")
    assert "half" not in contents(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
