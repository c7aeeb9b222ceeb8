"""summary.json is whole at any moment and follows what happens."""

import json
import os
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.record import SUMMARY_FILE, RunRecord
from pipeline.runs import load_run

RUN_ID = "20261122-190355-3f2a"
KEYS = {
    "run_id",
    "preset",
    "status",
    "exit_code",
    "pid",
    "started",
    "seconds",
    "message",
    "failed_component",
    "log",
    "resume_command",
    "components",
    "data",
    "metrics",
    "thresholds",
    "baseline",
    "blessed",
    "refusals",
    "serving_check",
    "pushed_path",
    "version",
    "already_pushed",
    "digests",
    "config",
    "machine",
}


def new_record(root: Path, **first: Any) -> RunRecord:
    folder = root / "runs" / RUN_ID
    folder.mkdir(parents=True)
    return RunRecord(folder, first)


def read(record: RunRecord) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((record.folder / SUMMARY_FILE).read_text())
    return found


def test_a_run_is_on_record_from_its_first_moment(tmp_path: Path) -> None:
    record = new_record(tmp_path, preset="demo", config={"gate": {"top_k": 5}})
    found = read(record)
    assert set(found) == KEYS
    assert found["run_id"] == RUN_ID
    assert found["status"] == "running"
    assert found["pid"] == os.getpid()
    assert (found["preset"], found["config"]) == ("demo", {"gate": {"top_k": 5}})
    assert datetime.fromisoformat(found["started"]).utcoffset() == timedelta(0)
    assert found["log"] == str(record.folder / "run.log")
    assert set(found["machine"]) == {"cpus", "platform", "python", "tensorflow"}


def test_the_list_of_runs_reads_it(tmp_path: Path) -> None:
    record = new_record(tmp_path, preset="demo")
    assert load_run(tmp_path, RUN_ID).status == "running"
    record.update(status="pushed", exit_code=0, version=7)
    run = load_run(tmp_path, RUN_ID)
    assert (run.status, run.value("version")) == ("pushed", 7)


def test_components_follow_the_events(tmp_path: Path) -> None:
    record = new_record(tmp_path)
    record.on_event("component_started", {"name": "A"})
    assert read(record)["components"] == [{"name": "A", "state": "running", "seconds": 0.0}]
    record.on_event("component_finished", {"name": "A", "state": "cached", "seconds": 0.12345})
    record.on_event("component_started", {"name": "B"})
    record.on_event("epoch", {"epoch": 1, "epochs": 2})
    record.on_event("component_finished", {"name": "B", "state": "failed", "seconds": 2.0})
    found = read(record)
    assert found["components"] == [
        {"name": "A", "state": "cached", "seconds": 0.123},
        {"name": "B", "state": "failed", "seconds": 2.0},
    ]
    assert found["failed_component"] == "B"


def test_only_a_failed_component_is_named_as_failed(tmp_path: Path) -> None:
    record = new_record(tmp_path)
    record.on_event("component_started", {"name": "A"})
    record.on_event("component_finished", {"name": "A", "state": "done", "seconds": 1.0})
    assert read(record)["failed_component"] is None


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    record = new_record(tmp_path)
    done = threading.Event()
    broken: list[str] = []
    seen: set[int] = set()

    def watch() -> None:
        while not done.is_set():
            text = (record.folder / SUMMARY_FILE).read_text()
            try:
                seen.add(len(json.loads(text)["message"]))
            except ValueError:
                broken.append(text)

    watcher = threading.Thread(target=watch)
    watcher.start()
    number = 0
    while (number < 200 or len(seen) < 3) and watcher.is_alive():
        number += 1
        record.update(message="x" * (number % 50 * 4000))
    done.set()
    watcher.join()
    assert broken == []
    assert len(seen) >= 3
    assert [entry.name for entry in record.folder.iterdir()] == [SUMMARY_FILE]
