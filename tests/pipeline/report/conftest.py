"""A run's summary and evidence, made up, for the tests of what people see."""

import struct
import zlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.report import Evidence

RUN_ID = "20261122-190355-3f2a"
TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
STAGES = (
    "ImportExampleGen", "StatisticsGen", "ImportSchema", "ExampleValidator", "ValidationGate",
    "Transform", "Trainer", "LatestBlessed", "Evaluator", "ServingCheck", "Pusher",
)  # fmt: skip


def png(width: int = 1, height: int = 1) -> bytes:
    """A gray PNG."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    magic = b"\x89PNG\r\n\x1a\n"
    return magic + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def summary(names: Sequence[str] = TEN, **changes: Any) -> dict[str, Any]:
    """A run that was blessed and pushed."""
    counts = [4000 + i for i in range(len(names))]
    base: dict[str, Any] = {
        "run_id": RUN_ID,
        "preset": "demo",
        "status": "pushed",
        "exit_code": 0,
        "pid": 1,
        "started": "2026-11-22T19:03:55+00:00",
        "seconds": 441.2,
        "message": "",
        "failed_component": None,
        "log": f"/w/runs/{RUN_ID}/run.log",
        "resume_command": None,
        "components": [{"name": name, "state": "done", "seconds": 1.5} for name in STAGES],
        "data": {
            "dir": "/data/cifar10",
            "classes": list(names),
            "splits": {"train": {"examples": sum(counts), "per_class": counts}},
            "dropped": [],
        },
        "metrics": {
            "top_1_accuracy": 0.8123,
            "top_5_accuracy": 0.9871,
            "loss": 0.6234,
            "examples": 10000,
        },
        "thresholds": {
            "metric": "top_5_accuracy",
            "required": 0.95,
            "max_regression": 0.01,
            "split": "test",
            "note": None,
        },
        "baseline": {
            "model": "/w/artifacts/Trainer/model/12",
            "metrics": {"top_1_accuracy": 0.7911, "top_5_accuracy": 0.9846, "loss": 0.68},
        },
        "blessed": True,
        "refusals": [],
        "serving_check": {"ok": True, "examples": 32, "max_difference": 2.4e-7, "message": ""},
        "pushed_path": "/w/serving/vit/4",
        "version": 4,
        "already_pushed": False,
        "digests": {"data": "3f" * 32, "code": "a1" * 32, "config": "9c" * 32},
        "config": {"trainer": {"epochs": 30, "augmentation": "crop_flip", "warm": None}},
        "machine": {"cpus": 2, "tensorflow": "2.21.0"},
    }
    return base | changes


def refused(**changes: Any) -> dict[str, Any]:
    """A run whose model the Evaluator refused."""
    return summary(
        status="model_refused",
        exit_code=3,
        blessed=False,
        metrics={
            "top_1_accuracy": 0.6123,
            "top_5_accuracy": 0.9412,
            "loss": 1.0,
            "examples": 10000,
        },
        refusals=["top_5_accuracy 0.9412 is below the required 0.95"],
        serving_check=None,
        pushed_path=None,
        version=None,
        **changes,
    )


def failed(**changes: Any) -> dict[str, Any]:
    """A run whose Trainer failed."""
    base: dict[str, Any] = {
        "status": "failed",
        "exit_code": 1,
        "message": "ResourceExhaustedError: out of memory\nwhile allocating a tensor",
        "failed_component": "Trainer",
        "resume_command": "vitpipe run --preset demo --workdir /w",
        "components": [
            *({"name": name, "state": "done", "seconds": 1.5} for name in STAGES[:6]),
            {"name": "Trainer", "state": "failed", "seconds": 12.0},
        ],
        "metrics": {},
        "baseline": None,
        "blessed": None,
        "serving_check": None,
        "pushed_path": None,
        "version": None,
    }
    return summary(**(base | changes))


def confusion(size: int) -> list[list[int]]:
    """Counts that differ: 80 and more right answers a class, errors with the next one."""
    return [
        [80 + i if i == j else (7 + i if j == (i + 1) % size else 0) for j in range(size)]
        for i in range(size)
    ]


def evidence(names: Sequence[str] = TEN) -> Evidence:
    """Three epochs, a matrix, and a right and a wrong sample."""
    per_class = [
        {"name": name, "examples": 100, "top_1_accuracy": 0.5 + i / 1000, "top_5_accuracy": None}
        for i, name in enumerate(names)
    ]
    guesses = [(name, 0.9 if i == 0 else 0.01) for i, name in enumerate(names[:5])]
    return Evidence(
        history={
            "loss": [2.0, 1.0, 0.5],
            "eval_loss": [2.5, 1.5, 1.25],
            "top_1_accuracy": [0.25, 0.5, 0.75],
            "eval_top_1_accuracy": [0.2, 0.6, 0.4],
            "top_5_accuracy": [0.5, 0.75, 0.9],
            "eval_top_5_accuracy": [0.5, 0.7, 0.8],
            "learning_rate": [1e-3, 5e-4, 1e-4],
            "seconds": [10.0, 10.0, 10.0],
        },
        per_class=per_class,
        confusion=confusion(len(names)),
        samples=[
            {"image": png(), "id": "test_1", "label": names[0], "predictions": guesses},
            {"image": png(2, 2), "id": "test_2", "label": names[1], "predictions": guesses},
        ],
        statistics=[
            {
                "split": "train",
                "feature": "image",
                "type": "bytes",
                "examples": 45000,
                "missing": 0,
                "note": "2.1 KB on average",
            }
        ],
    )


@pytest.fixture
def made() -> SimpleNamespace:
    """The makers above, for tests, which cannot import from this file."""
    return SimpleNamespace(
        RUN_ID=RUN_ID, TEN=TEN, STAGES=STAGES, png=png, summary=summary, refused=refused,
        failed=failed, confusion=confusion, evidence=evidence,
    )  # fmt: skip
