"""The record of a run: summary.json, rewritten whole after everything that happens."""

import importlib.metadata
import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SUMMARY_FILE = "summary.json"
CONFIG_FILE = "config.yaml"
LOG_FILE = "run.log"
REPORT_FILE = "report.html"


class RunRecord:
    """What is known of a run so far; a reader never sees half of it."""

    def __init__(self, folder: Path, first: dict[str, Any]) -> None:
        self.folder = folder
        self._start = time.monotonic()
        self.summary: dict[str, Any] = {
            "run_id": folder.name,
            "preset": None,
            "status": "running",
            "exit_code": None,
            "pid": os.getpid(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "message": "",
            "failed_component": None,
            "log": str(folder / LOG_FILE),
            "resume_command": None,
            "components": [],
            "data": None,
            "metrics": None,
            "thresholds": None,
            "baseline": None,
            "blessed": None,
            "refusals": [],
            "serving_check": None,
            "pushed_path": None,
            "version": None,
            "already_pushed": False,
            "digests": None,
            "config": None,
            "machine": _machine(),
            **first,
        }
        self.write()

    def update(self, **values: Any) -> None:
        """Takes in values and writes."""
        self.summary.update(values)
        self.write()

    def write(self) -> None:
        """Replaces the file."""
        self.summary["seconds"] = round(time.monotonic() - self._start, 3)
        temporary = self.folder / f".{SUMMARY_FILE}"
        temporary.write_text(json.dumps(self.summary, indent=1) + "\n")
        temporary.rename(self.folder / SUMMARY_FILE)

    def on_event(self, event: str, values: dict[str, Any]) -> None:
        """Keeps the list of components up to date."""
        if event == "component_started":
            entry = {"name": values["name"], "state": "running", "seconds": 0.0}
            self.summary["components"].append(entry)
            self.write()
        elif event == "component_finished":
            self.summary["components"][-1] |= {
                "state": values["state"],
                "seconds": round(values["seconds"], 3),
            }
            if values["state"] == "failed":
                self.summary["failed_component"] = values["name"]
            self.write()


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "tensorflow": importlib.metadata.version("tensorflow"),
    }
