"""`vitpipe compare`: what differs between two runs, and nothing else."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from components.errors import UsageError
from pipeline.arguments import add_workdir
from pipeline.runs import LATEST, Run, find_run, list_runs, without_nan
from pipeline.text import aligned, emit, is_share, metric_label, metric_value

HELP = "show what differs between two runs: settings, metrics, digests"

_ABSENT = object()
_DIGESTS = ("data", "code", "initial_weights")

Difference = tuple[Any, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the two runs, `--workdir` and `--json`."""
    what = f"a run's id, the beginning of one, or {LATEST}"
    parser.add_argument("a", metavar="A", help=what)
    parser.add_argument("b", metavar="B", help=what)
    add_workdir(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON object, for programs")


def run(args: argparse.Namespace) -> int:
    """Prints the differences; that there are none is no error.

    Raises:
        UsageError: a run is unknown, ambiguous or unreadable.
    """
    runs = list_runs(args.workdir)
    pair = (_readable(find_run(runs, args.a)), _readable(find_run(runs, args.b)))
    groups = differences(*pair)
    emit(_as_json(pair, groups) if args.json else "\n".join(_as_text(pair, groups)))
    return 0


def differences(a: Run, b: Run) -> dict[str, dict[str, Difference]]:
    """By group (settings, metrics, digests, machine), each name with both values, if unlike."""
    return {
        "settings": _unlike(_flat(a.section("config")), _flat(b.section("config"))),
        "metrics": _unlike(a.section("metrics"), b.section("metrics")),
        "digests": {
            name: pair
            for name, pair in _unlike(a.section("digests"), b.section("digests")).items()
            if name in _DIGESTS
        },
        "machine": _unlike(a.section("machine"), b.section("machine")),
    }


def _readable(one: Run) -> Run:
    if one.problem is not None:
        raise UsageError(f"run {one.run_id} cannot be read: {one.problem}")
    return one


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Difference]:
    pairs = {key: (a.get(key, _ABSENT), b.get(key, _ABSENT)) for key in [*a, *b]}
    return {key: pair for key, pair in pairs.items() if _shown(pair[0]) != _shown(pair[1])}


def _shown(value: Any) -> str:
    return "(absent)" if value is _ABSENT else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _as_text(pair: tuple[Run, Run], groups: Mapping[str, Mapping[str, Difference]]) -> list[str]:
    a, b = pair
    rows = [["", a.run_id, b.run_id, ""], ["state", a.status, b.status, ""]]
    for group, found in groups.items():
        if found:
            rows += [[], [group.upper()]]
            rows += [_row(group, name, *values) for name, values in found.items()]
    if not any(groups.values()):
        rows += [[], ["nothing differs: same settings, metrics, data and code"]]
    return aligned(rows)


def _row(group: str, name: str, a: Any, b: Any) -> list[str]:
    if group == "metrics" and _is_number(a, b):
        return [f"  {metric_label(name)}", *_metrics(name, a, b), _difference(name, a, b)]
    if group == "digests":
        return [
            f"  {name}",
            *(str(value)[:12] if _is_text(value) else _shown(value) for value in (a, b)),
            "",
        ]
    return [f"  {name}", _shown(a), _shown(b), ""]


def _metrics(name: str, *values: float) -> list[str]:
    return [metric_value(name, v) if isinstance(v, float) else str(v) for v in values]


def _difference(name: str, a: float, b: float) -> str:
    if is_share(name):
        return f"{100 * (b - a):+.2f} points"
    return f"{b - a:+.4f}" if isinstance(b - a, float) else f"{b - a:+d}"


def _is_number(*values: Any) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _as_json(pair: tuple[Run, Run], groups: Mapping[str, Mapping[str, Difference]]) -> str:
    a, b = pair
    result: dict[str, Any] = {"a": a.run_id, "b": b.run_id}
    for group, found in groups.items():
        result[group] = {name: _entry(group, *values) for name, values in found.items()}
    return json.dumps(without_nan(result), indent=2)


def _entry(group: str, a: Any, b: Any) -> dict[str, Any]:
    entry = {side: v for side, v in (("a", a), ("b", b)) if v is not _ABSENT}
    if group == "metrics" and _is_number(a, b):
        entry["difference"] = b - a
    return entry
