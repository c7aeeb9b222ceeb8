"""The geometry of the report's pictures; the template draws them as SVG.

Coordinates are those of the picture's view box, y downwards, rounded to a tenth so that
the same numbers always give the same bytes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.verdict import Threshold
from pipeline.text import is_share, metric_label, metric_value, top_k_keys

WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 330, 10, 174

GATE_WIDTH = 420
GATE_LEFT, GATE_RIGHT, GATE_ROW = 112, 404, 26

_MOST_DOTS = 120

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis and the text beside it."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """A value's place, and what a pointer over it says."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """One series: its unbroken stretches as SVG points, and its dots."""

    name: str
    stretches: tuple[str, ...]
    dots: tuple[Dot, ...]
    last: str


@dataclass(frozen=True)
class Curve:
    """One diagram over the epochs."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    best_x: float | None
    show_dots: bool


@dataclass(frozen=True)
class GateRow:
    """One value on the gate's scale; its text stands left of the mark if `before`."""

    name: str
    x: float
    y: float
    text: str
    before: bool
    kind: str


@dataclass(frozen=True)
class Gate:
    """The measured metric beside what was asked of it."""

    rows: tuple[GateRow, ...]
    ticks: tuple[Tick, ...]
    floor_x: float
    bottom: float
    height: float


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers from at most `low` to at least `high`."""
    if not high > low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def curves(history: Mapping[str, Sequence[float]]) -> list[Curve]:
    """A diagram each of loss, the top-k accuracies and the learning rate, where there is one."""
    bare = [name.removeprefix("eval_") for name in history]
    best = best_epoch(history)
    found = []
    for key in ("loss", *top_k_keys(bare), "learning_rate"):
        series = {
            name: history[full]
            for name, full in (("train", key), ("eval", f"eval_{key}"))
            if any(map(math.isfinite, history.get(full) or ()))
        }
        if series:
            found.append(_curve(key, series, best))
    return found


def best_epoch(history: Mapping[str, Sequence[float]]) -> int | None:
    """The epoch, from 1, of the best eval top-1 accuracy: the weights that are kept."""
    values = list(history.get("eval_top_1_accuracy") or ())
    finite = [value for value in values if math.isfinite(value)]
    return values.index(max(finite)) + 1 if finite else None


def _curve(key: str, series: Mapping[str, Sequence[float]], best: int | None) -> Curve:
    finite = [v for values in series.values() for v in values if math.isfinite(v)]
    levels = nice_ticks(min(finite), max(finite))
    if is_share(key):
        levels = [level for level in levels if -1e-9 <= level <= 1 + 1e-9]
    epochs = max(map(len, series.values()))
    x_of = _scale(1, max(epochs, 2), LEFT + 6, RIGHT - 6)
    y_of = _scale(min(levels[0], *finite), max(levels[-1], *finite), BOTTOM, TOP)
    marks = sorted({round(tick) for tick in nice_ticks(1, max(epochs, 2), 5)} | {1})
    return Curve(
        title={"learning_rate": "learning rate"}.get(key, metric_label(key)),
        lines=tuple(_line(key, name, values, x_of, y_of) for name, values in series.items()),
        x_ticks=tuple(Tick(x_of(e), str(e)) for e in marks if 1 <= e <= epochs),
        y_ticks=tuple(Tick(y_of(level), _level(key, level)) for level in levels),
        best_x=None if best is None or key == "learning_rate" else x_of(best),
        show_dots=epochs <= 40,
    )


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    """The straight map that takes `low` to `start` and `high` to `end`."""
    slope = (end - start) / ((high - low) or 1.0)
    return lambda value: round(start + (value - low) * slope, 1)


def _line(key: str, name: str, values: Sequence[float], x_of: Scale, y_of: Scale) -> Line:
    stretches: list[list[str]] = [[]]
    dots = []
    for epoch, value in enumerate(values, start=1):
        if not math.isfinite(value):  # a gap, not a line through nowhere
            stretches.append([])
            continue
        x, y = x_of(epoch), y_of(value)
        stretches[-1].append(f"{x},{y}")
        dots.append(Dot(x, y, f"{name}, epoch {epoch}: {_value(key, value)}"))
    return Line(
        name=name,
        stretches=tuple(" ".join(part) for part in stretches if len(part) > 1),
        dots=tuple(dots if len(dots) <= _MOST_DOTS else dots[:: len(dots) // _MOST_DOTS + 1]),
        last=_value(key, values[-1]),
    )


def _level(key: str, level: float) -> str:
    return f"{100 * level:.4g}%" if is_share(key) else _short(level)


def _short(value: float) -> str:
    """At most six characters or so: `0.25`, `2.5e-4`."""
    if value and not 1e-3 <= abs(value) < 1e5:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.4g}"


def _value(key: str, value: float) -> str:
    return _short(value) if key == "learning_rate" else metric_value(key, value)


def gate(measured: float, wanted: Threshold) -> Gate:
    """The picture of the gate: what passes lies right of `floor_x`."""
    passed = "model pass" if measured >= wanted.floor else "model miss"
    marks = [("this model", measured, passed), ("required", wanted.required, "limit")]
    if wanted.baseline is not None:
        margin = metric_value(wanted.metric, wanted.max_regression)
        marks.append(("baseline", wanted.baseline, "base"))
        marks.append(
            (f"baseline \u2212 {margin}", wanted.baseline - wanted.max_regression, "limit")
        )
    shown = [
        (name, value, kind)
        for name, value, kind in marks
        if value is not None and math.isfinite(value)
    ]
    values = [value for _, value, _ in shown]
    low, high = min(values), max(values)
    pad = max((high - low) * 0.25, 0.01)
    top = max(1.0, high) if is_share(wanted.metric) else high + pad
    levels = nice_ticks(max(low - pad, 0.0), min(high + pad, top))
    x_of = _scale(levels[0], max(levels[-1], high), GATE_LEFT, GATE_RIGHT)
    rows = tuple(_gate_row(wanted.metric, index, x_of, *mark) for index, mark in enumerate(shown))
    bottom = len(rows) * GATE_ROW + 6.0
    ticks = tuple(Tick(x_of(level), _level(wanted.metric, level)) for level in levels)
    return Gate(rows, ticks, x_of(wanted.floor), bottom, bottom + 20)


def _gate_row(metric: str, index: int, x_of: Scale, name: str, value: float, kind: str) -> GateRow:
    x = x_of(value)
    return GateRow(
        name=name,
        x=x,
        y=index * GATE_ROW + GATE_ROW / 2 + 3,
        text=metric_value(metric, value),
        before=x > GATE_RIGHT - 60,
        kind=kind,
    )
