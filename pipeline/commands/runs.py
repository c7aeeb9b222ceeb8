"""`vitpipe runs`: the runs of a work directory, the newest first."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from pipeline.arguments import add_workdir
from pipeline.runs import HOW_TO_MAKE_ONE, Run, list_runs, runs_folder, without_nan
from pipeline.text import aligned, duration, emit, metric_label, metric_value, top_k_keys

HELP = "list runs with state, metrics and what was pushed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--workdir` and `--json`."""
    add_workdir(parser)
    parser.add_argument("--json", action="store_true", help="as a JSON list, for programs")


def run(args: argparse.Namespace) -> int:
    """Prints the list; no runs is no error."""
    runs = list_runs(args.workdir)
    if args.json:
        emit(json.dumps(without_nan([_record(one) for one in runs]), indent=2))
    elif runs:
        emit("\n".join(_table(runs)))
    else:
        emit(f"no runs in {runs_folder(args.workdir)}; {HOW_TO_MAKE_ONE}")
    return 0


def _record(one: Run) -> dict[str, Any]:
    return {
        "run_id": one.run_id,
        "status": one.status,
        "preset": one.text("preset"),
        "started": one.text("started"),
        "seconds": one.seconds,
        "metrics": one.section("metrics"),
        "blessed": one.value("blessed"),
        "message": one.text("message"),
        "pushed_path": one.text("pushed_path"),
        "version": one.number("version"),
        "path": str(one.path.absolute()),
        "problem": one.problem,
    }


def _table(runs: Sequence[Run]) -> list[str]:
    keys = top_k_keys(key for one in runs for key in one.section("metrics"))
    head = ["RUN", "PRESET", "STATE", *(metric_label(key).upper() for key in keys)]
    rows = [[*head, "TIME", "VERSION"]]
    rows += [_row(one, keys) for one in runs]
    lines = aligned(rows, right=range(3, len(rows[0])))
    return lines + [f"{one.run_id}: {one.problem}" for one in runs if one.problem]


def _row(one: Run, keys: Sequence[str]) -> list[str]:
    values = [(key, one.number("metrics", key)) for key in keys]
    seconds = one.seconds
    version = one.number("version")
    return [
        one.run_id,
        one.text("preset") or "-",
        one.status,
        *("-" if value is None else metric_value(key, value) for key, value in values),
        "-" if seconds is None else duration(seconds),
        "-" if version is None else f"{version:.0f}",
    ]
