"""How a run ended, in words; what the terminal and the report say alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Tone = Literal["good", "bad", "plain"]


@dataclass(frozen=True)
class Verdict:
    """One sentence, why, and whether that is good news."""

    headline: str
    reasons: tuple[str, ...]
    tone: Tone


@dataclass(frozen=True)
class Threshold:
    """What the gate asked of its metric; `floor` is the stricter of the two demands."""

    metric: str
    required: float
    baseline: float | None
    max_regression: float

    @property
    def floor(self) -> float:
        """The least value that passes."""
        if self.baseline is None:
            return self.required
        return max(self.required, self.baseline - self.max_regression)


def threshold(summary: Mapping[str, Any]) -> Threshold | None:
    """The gate's demand, or None for a run that has none yet."""
    found = summary.get("thresholds") or {}
    if not found.get("metric") or found.get("required") is None:
        return None
    baseline = ((summary.get("baseline") or {}).get("metrics") or {}).get(found["metric"])
    return Threshold(
        metric=str(found["metric"]),
        required=float(found["required"]),
        baseline=None if baseline is None else float(baseline),
        max_regression=float(found.get("max_regression") or 0.0),
    )


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """How this run ended, or that it has not."""
    status = summary.get("status")
    message = (str(summary.get("message") or ""),)
    where = f" in {summary['failed_component']}" if summary.get("failed_component") else ""
    if status == "pushed":
        return Verdict(_pushed(summary), (), "good")
    if status == "model_refused":
        return _refused(summary, message)
    if status == "data_refused":
        return Verdict(f"DATA REFUSED{where}: nothing was trained or pushed", message, "bad")
    if status == "failed":
        return Verdict(f"FAILED{where}", message, "bad")
    return Verdict(f"{str(status or 'unknown').upper()}{where}", message, "plain")


def _pushed(summary: Mapping[str, Any]) -> str:
    version = summary.get("version")
    what = "the model" if version is None else f"version {version}"
    if summary.get("already_pushed"):
        served = summary.get("served_version")
        newer = f"; {served} is newer and served" if served and served != version else ""
        return f"BLESSED: {what} had been pushed already{newer}"
    return f"BLESSED: pushed {what}"


def _refused(summary: Mapping[str, Any], message: tuple[str, ...]) -> Verdict:
    check = summary.get("serving_check") or {}
    if summary.get("blessed") and check.get("ok") is False:
        why = (str(check.get("message") or message[0]),)
        return Verdict("BLESSED, but refused by the serving check: not pushed", why, "bad")
    refusals = tuple(str(reason) for reason in summary.get("refusals") or ())
    return Verdict("NOT BLESSED: nothing was pushed", refusals or message, "bad")
