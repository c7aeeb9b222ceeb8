"""Runs are listed and compared whatever state their folders are in."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from components.errors import UsageError
from pipeline.commands import compare, runs
from pipeline.runs import find_run, list_runs, load_run

OLD = "20261122-190355-3f2a"
MID = "20261122-200000-aaaa"
NEW = "20261123-080000-bbbb"


def summary(run_id: str, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "run_id": run_id,
        "preset": "demo",
        "status": "pushed",
        "pid": 1,
        "started": "2026-11-22T19:03:55+00:00",
        "seconds": 65.2,
        "metrics": {
            "top_1_accuracy": 0.7120,
            "top_5_accuracy": 0.9790,
            "loss": 0.8123,
            "examples": 10000,
        },
        "pushed_path": "/w/serving/vit/3",
        "version": 3,
        "digests": {"data": "a" * 64, "code": "b" * 64, "config": "c" * 64},
        "config": {"model": {"depth": 6, "width": 192}, "gate": {"top_k_accuracy": 0.9}},
        "machine": {"cpus": 2, "tensorflow": "2.21.0"},
    }
    return base | changes


def write(workdir: Path, run_id: str, **changes: Any) -> None:
    folder = workdir / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary(run_id, **changes)))


def call(command: Any, *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    result: int = command.run(parser.parse_args(list(words)))
    return result


@pytest.fixture
def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_runs_lists_the_newest_first_with_metrics_and_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, OLD)
    refused = {"metrics": {"top_1_accuracy": 0.5}, "version": None, "status": "model_refused"}
    write(tmp_path, NEW, **refused)
    assert call(runs, "--workdir", str(tmp_path)) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["RUN", "PRESET", "STATE", "TOP-1", "TOP-5", "TIME", "VERSION"]
    assert first.split() == [NEW, "demo", "model_refused", "50.00%", "-", "1", "m", "05", "s", "-"]
    assert second.split()[:5] == [OLD, "demo", "pushed", "71.20%", "97.90%"]
    assert second.split()[-1] == "3"
    assert max(map(len, (head, first, second))) <= 80


def test_no_runs_says_how_to_make_one_and_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(runs, "--workdir", str(tmp_path / "nowhere")) == 0
    assert "vitpipe run --preset demo" in capsys.readouterr().out
    assert call(runs, "--workdir", str(tmp_path / "nowhere"), "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_running_run_has_taken_the_time_since_its_start(tmp_path: Path) -> None:
    now = datetime.now(UTC).isoformat()
    write(tmp_path, NEW, status="running", pid=os.getpid(), started=now, seconds=1e6)
    seconds = load_run(tmp_path, NEW).seconds
    assert seconds is not None and 0 <= seconds < 1e5
    write(tmp_path, OLD, status="running", pid=os.getpid(), started="today", seconds=1e6)
    assert load_run(tmp_path, OLD).seconds is None


def test_a_running_run_whose_process_is_gone_is_interrupted(tmp_path: Path, ended_pid: int) -> None:
    write(tmp_path, OLD, status="running", pid=ended_pid)
    assert load_run(tmp_path, OLD).status == "interrupted"


def test_a_running_run_whose_process_lives_is_running(tmp_path: Path) -> None:
    write(tmp_path, NEW, status="running", pid=os.getpid(), started="2999-01-01T00:00:00+00:00")
    assert load_run(tmp_path, NEW).status == "running"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_younger_than_the_run_is_another_one(tmp_path: Path) -> None:
    write(tmp_path, OLD, status="running", pid=os.getpid(), started="2001-01-01T00:00:00+00:00")
    assert load_run(tmp_path, OLD).status == "interrupted"


@pytest.mark.parametrize("pid", [None, "7", True, -1, 0, 10**30])
def test_a_running_run_without_a_sensible_pid_is_interrupted(tmp_path: Path, pid: Any) -> None:
    write(tmp_path, OLD, status="running", pid=pid)
    assert load_run(tmp_path, OLD).status == "interrupted"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: None,
        lambda folder: (folder / "summary.json").write_text('{"run_id": '),
        lambda folder: (folder / "summary.json").write_text("[1]"),
        lambda folder: (folder / "summary.json").write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder / "summary.json").write_text("[" * 100_000),
        lambda folder: (folder / "summary.json").mkdir(),
    ],
    ids=["no summary", "cut off", "a list", "not UTF-8", "nested deeply", "a folder"],
)
def test_an_unreadable_run_is_listed_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object]
) -> None:
    write(tmp_path, OLD)
    broken = tmp_path / "runs" / NEW
    broken.mkdir()
    damage(broken)
    assert call(runs, "--workdir", str(tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == [NEW, "-", "unreadable"]
    assert lines[2].split()[:3] == [OLD, "demo", "pushed"]
    assert lines[3].startswith(f"{NEW}: ")
    with pytest.raises(UsageError, match=f"run {NEW} cannot be read"):
        call(compare, "latest", OLD, "--workdir", str(tmp_path))


def test_a_summary_with_values_of_other_types_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {"metrics": [1], "seconds": "x", "version": {}, "preset": 4, "status": None}
    write(tmp_path, OLD, **odd)
    for words in ([], ["--json"]):
        assert call(runs, "--workdir", str(tmp_path), *words) == 0
    assert OLD in capsys.readouterr().out


def test_files_and_hidden_folders_are_no_runs(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    (tmp_path / "runs" / ".tmp").mkdir()
    (tmp_path / "runs" / "notes.txt").write_text("")
    assert [run.run_id for run in list_runs(tmp_path)] == [OLD]


def test_a_file_where_the_runs_should_lie_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UsageError, match="--workdir"):
        list_runs(tmp_path)


def test_a_path_is_no_run_id(tmp_path: Path) -> None:
    write(tmp_path / "other", OLD)
    write(tmp_path / "w", NEW)
    with pytest.raises(UsageError, match="no run"):
        load_run(tmp_path / "w", f"../../other/runs/{OLD}")


def test_runs_json_is_strict_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, OLD, metrics={"loss": float("nan"), "top_1_accuracy": 0.5})
    assert call(runs, "--workdir", str(tmp_path), "--json") == 0
    (only,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert only["run_id"] == OLD
    assert only["status"] == "pushed"
    assert only["metrics"] == {"loss": None, "top_1_accuracy": 0.5}
    assert only["pushed_path"] == "/w/serving/vit/3"
    assert only["version"] == 3


def test_a_run_is_found_by_id_prefix_and_latest(tmp_path: Path) -> None:
    for run_id in (OLD, MID, NEW):
        write(tmp_path, run_id)
    found = list_runs(tmp_path)
    assert find_run(found, OLD).run_id == OLD
    assert find_run(found, "20261122-2").run_id == MID
    assert find_run(found, "latest").run_id == NEW


def test_an_id_that_begins_another_one_is_meant_exactly(tmp_path: Path) -> None:
    for run_id in (OLD, OLD + "-2"):
        write(tmp_path, run_id)
    assert find_run(list_runs(tmp_path), OLD).run_id == OLD


@pytest.mark.parametrize(
    ("name", "candidates"),
    [("20261122", [OLD, MID]), ("x", [OLD, MID, NEW]), ("", [OLD, MID, NEW])],
)
def test_an_ambiguous_or_unknown_run_is_refused_with_the_candidates(
    tmp_path: Path, name: str, candidates: list[str]
) -> None:
    for run_id in (OLD, MID, NEW):
        write(tmp_path, run_id)
    with pytest.raises(UsageError) as caught:
        find_run(list_runs(tmp_path), name)
    named = [run_id for run_id in (OLD, MID, NEW) if run_id in str(caught.value)]
    assert named == candidates


def test_comparing_without_runs_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="vitpipe run --preset demo"):
        call(compare, "a", "b", "--workdir", str(tmp_path))


@pytest.fixture
def two_runs(tmp_path: Path) -> Path:
    write(tmp_path, OLD)
    write(
        tmp_path,
        NEW,
        config={"model": {"depth": 12, "width": 192, "pool": "cls"}, "gate": {}},
        metrics={
            "top_1_accuracy": 0.7245,
            "top_5_accuracy": 0.9790,
            "loss": 0.8,
            "examples": 10010,
        },
        digests={"data": "a" * 64, "code": "d" * 64, "config": "e" * 64},
    )
    return tmp_path


def test_compare_shows_only_what_differs(
    two_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(compare, OLD, "latest", "--workdir", str(two_runs)) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert lines == [
        [OLD, NEW],
        ["state", "pushed", "pushed"],
        ["SETTINGS"],
        ["model.depth", "6", "12"],
        ["gate.top_k_accuracy", "0.9", "(absent)"],
        ["model.pool", "(absent)", '"cls"'],
        ["gate", "(absent)", "{}"],
        ["METRICS"],
        ["top-1", "71.20%", "72.45%", "+1.25", "points"],
        ["loss", "0.8123", "0.8000", "-0.0123"],
        ["examples", "10000", "10010", "+10"],
        ["DIGESTS"],
        ["code", "b" * 12, "d" * 12],
    ]


def test_compare_json_has_both_values_and_the_difference(
    two_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(compare, OLD, NEW, "--workdir", str(two_runs), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["a"], found["b"]) == (OLD, NEW)
    assert found["settings"]["model.depth"] == {"a": 6, "b": 12}
    assert found["settings"]["model.pool"] == {"b": "cls"}
    assert "model.width" not in found["settings"]
    assert set(found["metrics"]) == {"top_1_accuracy", "loss", "examples"}
    assert found["metrics"]["top_1_accuracy"]["difference"] == pytest.approx(0.0125)
    assert set(found["digests"]) == {"code"}
    assert found["machine"] == {}


def test_a_run_does_not_differ_from_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, OLD, metrics={"loss": float("nan")})
    assert call(compare, OLD, OLD, "--workdir", str(tmp_path)) == 0
    assert "nothing differs" in capsys.readouterr().out


def test_a_reader_that_leaves_early_causes_no_complaint(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    code = (
        "import argparse, os, sys\n"
        "from pipeline.commands import runs\n"
        "parser = argparse.ArgumentParser(); runs.add_arguments(parser)\n"
        "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)\n"
        "sys.exit(runs.run(parser.parse_args(['--workdir', sys.argv[1]])))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_import_nothing_heavy() -> None:
    code = (
        "import sys, pipeline.commands.runs, pipeline.commands.compare; "
        "sys.exit(any(m in sys.modules for m in ('rich', 'jinja2', 'tensorflow', 'keras', 'tfx')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
