"""How times, metrics and text from outside are written for people to read."""

import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TextIO

_TOP_K = re.compile(r"top_(\d+)_accuracy")
_UNSAFE = re.compile(r"[^\n\t -~\u00a0-\uffff\U00010000-\U0010ffff]")
# Marks that reorder or hide text, with which a name could forge another one.
_INVISIBLE = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def printable(text: str, encoding: str | None = None) -> str:
    """Text without anything that a terminal would obey instead of show.

    Control characters and marks that reorder or hide text become `?`, tabs a space;
    line breaks stay. With an encoding, so do the characters it cannot write.
    """
    text = _INVISIBLE.sub("?", _UNSAFE.sub("?", str(text).replace("\r\n", "\n")))
    text = text.replace("\t", " ")
    if encoding is None:
        return text
    return text.encode(encoding, errors="replace").decode(encoding)


def one_line(text: str) -> str:
    """`printable` text with every run of white space made one space."""
    return " ".join(printable(text).split())


def writes_unicode(stream: TextIO) -> bool:
    """Whether the stream takes any character; true for streams without an encoding."""
    return "utf" in (getattr(stream, "encoding", None) or "utf-8").lower()


def duration(seconds: float) -> str:
    """Seconds as `0.4 s`, `12.3 s`, `4 m 05 s` or `1 h 02 m`; a dash for less than none."""
    if not seconds >= 0:
        return "-"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"


def metric_label(key: str) -> str:
    """`top_5_accuracy` as `top-5`, `eval_loss` as `eval loss`; other names unchanged."""
    for prefix in ("eval_", "val_"):
        if key.startswith(prefix):
            return "eval " + metric_label(key.removeprefix(prefix))
    found = _TOP_K.fullmatch(key)
    return f"top-{found[1]}" if found else one_line(key)


def is_share(key: str) -> bool:
    """Whether the metric of this name is a share of examples, 0 to 1."""
    return key.endswith("accuracy")


def metric_value(key: str, value: float) -> str:
    """A share as `96.82%`, anything else with four decimals (`1.0234`)."""
    return f"{100 * value:.2f}%" if is_share(key) else f"{value:.4f}"


def brief_metrics(logs: Mapping[str, float]) -> str:
    """`loss 1.234  top-1 45.7%  top-5 91.2%`, of whatever of these is there, k ascending."""
    parts = [f"loss {logs['loss']:.3f}"] if "loss" in logs else []
    tops = sorted((int(found[1]), key) for key in logs if (found := _TOP_K.fullmatch(key)))
    parts += [f"top-{k} {100 * logs[key]:.1f}%" for k, key in tops]
    return "  ".join(parts)


def split_logs(logs: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Logs of training and of evaluation, the latter without its `eval_` or `val_`."""
    train: dict[str, float] = {}
    evaluation: dict[str, float] = {}
    for key, value in logs.items():
        found = re.fullmatch(r"(?:eval|val)_(.+)", key)
        if found:
            evaluation[found[1]] = value
        else:
            train[key] = value
    return train, evaluation


def top_k_keys(names: Iterable[str]) -> list[str]:
    """The `top_K_accuracy` among these names, each once, K ascending."""
    return sorted({n for n in names if _TOP_K.fullmatch(n)}, key=lambda n: int(n.split("_")[1]))


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Rows of cells as lines with two spaces between columns, no trailing space.

    Columns in `right` are flush right. A row of one cell is a heading: it may be as long
    as it is and widens no column.
    """
    clean = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
    full = [row for row in clean if len(row) > 1]
    widths = [max(map(len, column)) for column in zip_longest(*full, fillvalue="")]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in clean
    ]


def emit(text: str) -> None:
    """Writes text and a line break to standard output, whose reader may have gone."""
    safe = printable(text, sys.stdout.encoding)
    try:
        print(safe, flush=True)
    except BrokenPipeError:
        # Python flushes again as it exits, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
