"""The closing table says how a run ended, within 80 columns and without a terminal."""

import io
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.report import summary_table


def table(run: dict[str, Any], interactive: bool = False) -> list[str]:
    stream = io.StringIO()
    summary_table(run, stream, interactive)
    return stream.getvalue().splitlines()


def one(lines: list[str], start: str) -> str:
    (found,) = (line for line in lines if line.strip().startswith(start))
    return found


def test_a_pushed_run_shows_stages_metrics_verdict_path_and_time(made: Any) -> None:
    lines = table(made.summary())
    for stage in made.STAGES:
        assert one(lines, stage).split() == [stage, "done", "1.5", "s"]
    assert one(lines, "total").split() == ["total", "7", "m", "21", "s"]
    assert one(lines, "top-5").split() == ["top-5", "98.71%", "95.00%", "98.46%"]
    assert one(lines, "top-1").split() == ["top-1", "81.23%", "-", "79.11%"]
    assert one(lines, "loss").split() == ["loss", "0.6234", "-", "0.6800"]
    assert "BLESSED: pushed version 4" in lines
    assert one(lines, "pushed").split() == ["pushed", "/w/serving/vit/4"]
    assert one(lines, "log").split() == ["log", f"/w/runs/{made.RUN_ID}/run.log"]
    assert len(lines) <= 22
    assert max(map(len, lines)) <= 80


def test_a_model_pushed_before_is_said_to_be(made: Any) -> None:
    lines = table(made.summary(already_pushed=True))
    assert "BLESSED: version 4 had been pushed already" in lines


def test_after_a_rollback_the_version_that_is_served_is_named(made: Any) -> None:
    lines = table(made.summary(already_pushed=True, served_version=7))
    assert "BLESSED: version 4 had been pushed already; 7 is newer and served" in lines


def test_dropped_records_are_told(made: Any) -> None:
    dropped = [{"split": "train", "id": f"a{n}", "reason": "image: no PNG"} for n in range(5)]
    run = made.summary()
    lines = table(run | {"data": {**run["data"], "dropped": dropped}})
    text = " ".join(line.strip() for line in lines)
    assert "bad records left out: 5 (train, a0: image: no PNG; " in text
    assert "and 2 more)" in text
    assert not any("left out" in line for line in table(run))


def test_a_first_run_has_no_baseline(made: Any) -> None:
    assert one(table(made.summary(baseline=None)), "top-5").split()[-1] == "-"


def test_a_refused_model_is_not_blessed_and_told_why(made: Any) -> None:
    lines = table(made.refused(resume_command="vitpipe run --preset demo"))
    at = lines.index("NOT BLESSED: nothing was pushed")
    assert lines[at + 1].strip() == "top_5_accuracy 0.9412 is below the required 0.95"
    assert not any(line.startswith(("BLESSED", "pushed")) for line in lines)


def test_a_model_that_cannot_be_served_is_told_apart(made: Any) -> None:
    check = {"ok": False, "examples": 32, "max_difference": 0.2, "message": "differs by 0.2"}
    lines = table(made.refused() | {"blessed": True, "serving_check": check, "refusals": []})
    at = lines.index("BLESSED, but refused by the serving check: not pushed")
    assert lines[at + 1].strip() == "differs by 0.2"


@pytest.mark.parametrize("interactive", [False, True])
def test_a_failed_run_ends_with_component_reason_log_and_resume_command(
    interactive: bool, made: Any
) -> None:
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in table(made.failed(), interactive)]
    assert lines[-5:] == [
        "FAILED in Trainer",
        "  ResourceExhaustedError: out of memory",
        "  while allocating a tensor",
        f"log     /w/runs/{made.RUN_ID}/run.log",
        "resume  vitpipe run --preset demo --workdir /w",
    ]


def test_refused_data_is_named_with_the_stage_that_refused_it(made: Any) -> None:
    lines = table(made.failed(status="data_refused", failed_component="ValidationGate"))
    assert "DATA REFUSED in ValidationGate: nothing was trained or pushed" in lines


def test_a_run_that_goes_on_has_no_verdict(made: Any) -> None:
    lines = table({"run_id": made.RUN_ID, "status": "running"})
    assert "RUNNING" in lines
    assert not any("BLESSED" in line for line in lines)


@pytest.mark.parametrize("interactive", [False, True])
def test_what_is_copied_is_never_broken_and_the_rest_fits(interactive: bool, made: Any) -> None:
    command = "vitpipe run --preset demo --workdir /w/" + "long/" * 40
    path = "/w/" + "p" * 200
    message = "word " * 60 + path
    lines = table(made.failed(message=message, resume_command=command), interactive)
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert plain[-1] == f"resume  {command}"
    assert [line for line in plain if len(line) > 80] == [f"  {path}", f"resume  {command}"]


def test_a_long_reason_is_cut_and_the_log_named(made: Any) -> None:
    lines = table(made.failed(message="\n".join(f"reason {i}" for i in range(50))))
    assert len(lines) <= 28
    assert "38 more lines in the log" in lines[-3]


def test_without_a_terminal_there_are_no_control_characters(made: Any) -> None:
    lines = table(made.failed(message="bad \x1b[31m id\x07\r\x9b"))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", "".join(lines))


def test_an_empty_summary_is_shown_too() -> None:
    assert any("UNKNOWN" in line for line in table({}))


def test_the_report_is_named_once_it_is_there(tmp_path: Path, made: Any) -> None:
    run = made.summary(log=str(tmp_path / "run.log"))
    assert not any(line.startswith("report") for line in table(run))
    (tmp_path / "report.html").write_text("")
    assert one(table(run), "report").split() == ["report", str(tmp_path / "report.html")]
