"""The closing table on the terminal."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from pipeline.progress import component_line
from pipeline.report.verdict import Threshold, Verdict, threshold, verdict
from pipeline.text import aligned, metric_label, metric_value, printable, top_k_keys

WIDTH = 80
_REASON_LINES = 12

# A line and how it is emphasised on a terminal.
Line = tuple[str, str]

_STATE_STYLES = {"done": "green", "cached": "blue", "failed": "bold red", "running": "cyan"}
_TONES = {"good": "bold green", "bad": "bold red", "plain": "bold"}


def summary_table(summary: Mapping[str, Any], stream: TextIO, interactive: bool) -> None:
    """Writes what a run did and how it ended, in about 25 lines of at most 80 columns.

    Paths and the command that resumes are never broken, however long. A run that failed
    ends with the component, the reason, the log and that command.
    """
    lines = list(_lines(summary))
    if interactive:
        _write_styled(lines, stream)
    else:
        encoding = getattr(stream, "encoding", None)
        stream.writelines(f"{printable(text, encoding)}\n" for text, _ in lines)
    stream.flush()


def _write_styled(lines: list[Line], stream: TextIO) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, force_terminal=True, highlight=False)
    encoding = getattr(stream, "encoding", None)
    for text, style in lines:
        console.print(Text(printable(text, encoding), style=style), soft_wrap=True)


def _lines(summary: Mapping[str, Any]) -> Iterator[Line]:
    run_id, preset = summary.get("run_id", "?"), summary.get("preset")
    yield "", ""
    yield f"Run {run_id}" + (f", preset {preset}" if preset else ""), "bold"
    for component in summary.get("components") or []:
        state = str(component.get("state", "?"))
        line = component_line(component.get("name", "?"), state, component.get("seconds") or 0.0)
        yield f"  {line}", _STATE_STYLES.get(state, "")
    yield "  " + component_line("total", "", summary.get("seconds") or 0.0), "bold"
    for line in _metric_lines(summary):
        yield f"  {line}", ""
    for line in _dropped_lines(summary):
        yield f"  {line}", ""
    yield from _ending(summary, verdict(summary))


def _metric_lines(summary: Mapping[str, Any]) -> list[str]:
    metrics = summary.get("metrics") or {}
    keys = [*top_k_keys(metrics), *(["loss"] if "loss" in metrics else [])]
    if not keys:
        return []
    wanted = threshold(summary)
    baseline = (summary.get("baseline") or {}).get("metrics") or {}
    split = (summary.get("thresholds") or {}).get("split")
    examples = metrics.get("examples")
    on = " ".join(str(part) for part in (split, examples and f"{examples:,}") if part)
    rows = [[f"on {on}" if on else "", "measured", "required", "baseline"]]
    rows += [
        [
            metric_label(key),
            metric_value(key, metrics[key]),
            _required(wanted, key),
            metric_value(key, baseline[key]) if key in baseline else "-",
        ]
        for key in keys
    ]
    note = (summary.get("thresholds") or {}).get("note")
    return aligned(rows, right=(1, 2, 3)) + (_wrapped(str(note), "") if note else [])


def _dropped_lines(summary: Mapping[str, Any]) -> list[str]:
    dropped = (summary.get("data") or {}).get("dropped") or []
    if not dropped:
        return []
    shown = "; ".join(f"{one['split']}, {one['id']}: {one['reason']}" for one in dropped[:3])
    more = f"; and {len(dropped) - 3} more" if len(dropped) > 3 else ""
    return _wrapped(f"bad records left out: {len(dropped)} ({shown}{more})", "")


def _required(wanted: Threshold | None, key: str) -> str:
    return metric_value(key, wanted.required) if wanted and wanted.metric == key else "-"


def _ending(summary: Mapping[str, Any], end: Verdict) -> Iterator[Line]:
    yield end.headline, _TONES[end.tone]
    reasons = [line for reason in end.reasons for line in _wrapped(reason, "  ")]
    for line in reasons[:_REASON_LINES]:
        yield line, ""
    if len(reasons) > _REASON_LINES:
        yield f"  ... {len(reasons) - _REASON_LINES} more lines in the log", ""
    for name, value in _places(summary):
        yield f"{name:<8}{value}", ""


def _places(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if summary.get("pushed_path"):
        yield "pushed", str(summary["pushed_path"])
    log = summary.get("log")
    report = Path(log).with_name("report.html") if log else None
    if report and report.exists():
        yield "report", str(report)
    if log:
        yield "log", str(log)
    if summary.get("resume_command"):
        yield "resume", str(summary["resume_command"])


def _wrapped(text: str, indent: str) -> list[str]:
    # Only at spaces: what a person copies (a path, an id) stays in one piece.
    return [
        line
        for part in printable(text).splitlines()
        for line in textwrap.wrap(
            part,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
