"""`report.html`: one file that shows a run and why its model was let through or not."""

import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.report import charts
from pipeline.report.evidence_types import Evidence
from pipeline.report.matrix import Matrix, matrix
from pipeline.report.tables import classes, configuration, even, samples, shorten, splits, stages
from pipeline.report.verdict import threshold, verdict
from pipeline.text import (
    duration,
    metric_label,
    metric_value,
    printable,
    top_k_keys,
)

_FOLDER = Path(__file__).parent

# What the template asks for.
_KEYS = (
    "run_id",
    "preset",
    "seconds",
    "log",
    "resume_command",
    "pushed_path",
    "digests",
    "machine",
)
_SECTION_KEYS = {
    "data": ("dir",),
    "metrics": ("examples",),
    "thresholds": ("split", "note"),
    "baseline": ("model",),
    "serving_check": ("ok", "examples", "max_difference", "message"),
}
_DROPPED = ("split", "id", "reason")
_STATISTICS = ("split", "feature", "type", "examples", "missing", "note")
_ANOMALIES = ("split", "feature", "reason")


def write_report(path: Path, summary: Mapping[str, Any], evidence: Evidence) -> None:
    """Writes the page; a reader sees the old one or the new one, never a part.

    What is missing in summary or evidence is left out of the page. All text is escaped,
    and the page loads nothing from anywhere.
    """
    text = render(summary, evidence)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def render(summary: Mapping[str, Any], evidence: Evidence) -> str:
    """The page as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=duration, metric=metric_label, percent=_percent, number=_number
    )
    return environment.get_template("report.html.j2").render(_context(summary, evidence))


def _context(summary: Mapping[str, Any], evidence: Evidence) -> dict[str, Any]:
    end = verdict(summary)
    return {
        "css": _style(),
        "run": _complete(summary),
        "verdict": end,
        "started": _moment(summary.get("started")),
        "tiles": _tiles(summary),
        "gate": _gate(summary),
        "wanted": threshold(summary),
        "charts": charts,
        "curves": charts.curves(evidence.history),
        "epochs": _epochs(evidence.history),
        "matrix": _matrix(summary, evidence),
        "classes": classes(evidence.per_class),
        "samples": samples(evidence.samples),
        "splits": splits(summary.get("data") or {}),
        "dropped": shorten(even((summary.get("data") or {}).get("dropped") or (), _DROPPED)),
        "data_passed": _passed_gate(summary),
        "statistics": shorten(even(evidence.statistics, _STATISTICS)),
        "anomalies": shorten(even(evidence.anomalies, _ANOMALIES)),
        "stages": stages(summary.get("components") or ()),
        "sections": configuration(summary.get("config") or {}),
    }


def _complete(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary with None for what is not there, so that the template can ask for it."""
    run = dict.fromkeys(_KEYS) | dict(summary)
    for section, keys in _SECTION_KEYS.items():
        run[section] = dict.fromkeys(keys) | dict(summary.get(section) or {})
    return run


def _style() -> Any:
    from markupsafe import Markup

    # The package's own file: the one text on the page that is not escaped.
    return Markup((_FOLDER / "report.css").read_text(encoding="utf-8"))


def _shown(value: Any) -> Any:
    # Markup is a str too, and already safe.
    return printable(value) if type(value) is str else value


def _tiles(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    metrics = summary.get("metrics") or {}
    baseline = (summary.get("baseline") or {}).get("metrics") or {}
    keys = [*top_k_keys(metrics), *(["loss"] if "loss" in metrics else [])]
    return [
        {
            "name": metric_label(key),
            "value": metric_value(key, metrics[key]),
            "baseline": metric_value(key, baseline[key]) if key in baseline else "",
        }
        for key in keys
    ]


def _gate(summary: Mapping[str, Any]) -> charts.Gate | None:
    wanted = threshold(summary)
    measured = (summary.get("metrics") or {}).get(wanted.metric) if wanted else None
    if wanted is None or measured is None or not math.isfinite(measured):
        return None
    return charts.gate(measured, wanted)


def _passed_gate(summary: Mapping[str, Any]) -> bool:
    """Whether the data were checked and let through: no anomalies is then good news."""
    return any(
        one.get("name") == "ValidationGate" and one.get("state") in ("done", "cached")
        for one in summary.get("components") or ()
    )


def _matrix(summary: Mapping[str, Any], evidence: Evidence) -> Matrix | None:
    if not evidence.confusion:
        return None
    names = (summary.get("data") or {}).get("classes") or ()
    return matrix(evidence.confusion, [str(name) for name in names])


def _epochs(history: Mapping[str, Any]) -> dict[str, Any] | None:
    count = max((len(values) for values in history.values()), default=0)
    if not count:
        return None
    seconds = list(history.get("seconds") or ())
    return {"count": count, "best": charts.best_epoch(history), "seconds": sum(seconds)}


def _moment(started: Any) -> str:
    if not started:
        return ""
    try:
        moment = datetime.fromisoformat(str(started))
    except ValueError:  # not ours to judge: shown as it came
        return str(started)
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}%"


def _number(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
