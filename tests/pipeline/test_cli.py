"""The command line: exit codes, messages, and what it imports before it must."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.errors import DataError, ModelRefusedError, UsageError, VitpipeError
from pipeline import cli
from pipeline.commands import config as config_command

ROOT = Path(__file__).parents[2]
COMMANDS = {"clean", "compare", "config", "data", "model", "rollback", "run", "runs"}
HEAVY = "tensorflow", "tfx", "keras", "apache_beam", "ml_metadata"


def heavy_after(*arguments: str) -> str:
    """Which heavy packages a fresh process holds after a command, and the exit code."""
    program = f"""
import sys
from pipeline import cli
try:
    code = cli.main({list(arguments)!r})
except SystemExit as error:
    code = error.code
print("\\nheavy:", code, *(name for name in {HEAVY!r} if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["run", "--help"], 0),
        (["config", "show", "--preset", "seed"], 0),
        (["run", "--preset", "nope"], 2),
        (["run", "--set", "trainer.epochz=3"], 2),
        (["run", "--data", "/nowhere", "--workdir", "WORK"], 2),
        (["runs", "--workdir", "/nowhere"], 0),
        (["model", "list"], 0),
        (["model", "summary", "vit_b16", "--json"], 0),
        (["model", "summary", "nope"], 2),
    ],
)
def test_what_needs_no_tensorflow_does_not_import_it(
    arguments: list[str], code: int, tmp_path: Path
) -> None:
    given = [str(tmp_path) if argument == "WORK" else argument for argument in arguments]
    assert heavy_after(*given) == f"heavy: {code}"


def test_help_lists_the_commands_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert cli.EXIT_CODES in text
    assert set(re.findall(r"^    (\w+)", text, re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert f"usage: vitpipe {command}" in capsys.readouterr().out


def test_an_unknown_preset_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--preset", "nope"]) == 2
    error = capsys.readouterr().err
    assert error == ("vitpipe: error: there is no preset 'nope'; known: demo, seed, cifar10\n")


def test_an_unknown_command_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["trian"])
    assert caught.value.code == 2
    assert "invalid choice: 'trian'" in capsys.readouterr().err


def test_a_refused_run_writes_nothing(tmp_path: Path) -> None:
    workdir = tmp_path / "work"
    arguments = ["run", "--data", str(tmp_path), "--workdir", str(workdir)]
    assert cli.main([*arguments, "--set", "trainer.epochs=0"]) == 2
    assert not workdir.exists()
    assert cli.main(arguments) == 2, "no data set there"
    assert not (workdir / "runs").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "there is no file"),
        ("root:x:0:0:root:/root:/bin/bash\n", "is no schema in text form (1:"),
        ("", "the schema has no feature 'label'"),
    ],
)
def test_a_schema_that_is_none_is_refused_before_anything_starts(
    text: str | None, reason: str, tmp_path: Path
) -> None:
    data, schema, workdir = tmp_path / "data", tmp_path / "schema.pbtxt", tmp_path / "work"
    counts = ["--train", "200", "--eval", "10", "--test", "10"]
    assert cli.main(["data", "synthetic", "--output", str(data), *counts]) == 0
    if text is not None:
        schema.write_text(text)
    arguments = ["run", "--data", str(data), "--workdir", str(workdir)]
    arguments += ["--set", f"validation.schema={schema}"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipeline.cli", *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (told,) = (line for line in done.stderr.splitlines() if not line.startswith("import time:"))
    assert told.startswith("vitpipe: error: validation.schema: ")
    assert reason in told
    assert not (workdir / "runs").exists()
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported.intersection(HEAVY)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`vitpipe config` raises the error that is set here."""
    state = SimpleNamespace(error=None)

    def run(args: argparse.Namespace) -> int:
        raise state.error

    monkeypatch.setattr(config_command, "run", run)
    return state


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("why"), 2),
        (DataError("why"), 2),
        (ModelRefusedError("why"), 3),
        (VitpipeError("why"), 1),
    ],
)
def test_each_refusal_has_its_exit_code_and_says_why(
    error: VitpipeError,
    code: int,
    failing: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing.error = error
    assert cli.main(["config", "show"]) == code
    captured = capsys.readouterr()
    assert captured.err == "vitpipe: error: why\n"
    assert captured.out == ""


def test_an_interruption_is_told_without_a_trace(
    failing: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    failing.error = KeyboardInterrupt()
    assert cli.main(["config", "show"]) == 1
    assert capsys.readouterr().err == "vitpipe: interrupted\n"


def test_what_the_system_refuses_is_one_sentence(
    failing: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    failing.error = PermissionError(13, "Permission denied", "/here")
    assert cli.main(["config", "show"]) == 1
    assert capsys.readouterr().err == "vitpipe: error: /here: Permission denied\n"
    failing.error = OSError("no number and no path")
    assert cli.main(["config", "show"]) == 1
    assert capsys.readouterr().err == "vitpipe: error: no number and no path\n"


@pytest.mark.parametrize("place", ["/etc/passwd", "/proc/x", "/etc/passwd/below"])
def test_a_work_directory_that_cannot_be_made_is_bad_usage(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "--data", "/nowhere", "--workdir", place]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vitpipe: error: --workdir {place} cannot be used: {place}: ")
    assert len(error.splitlines()) == 1


def test_a_fault_of_ours_is_not_hidden(failing: SimpleNamespace) -> None:
    failing.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cli.main(["config", "show"])


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", *arguments]


@pytest.mark.parametrize(
    ("arguments", "code"), [(["config", "show"], 1), (["runs", "--workdir", "nowhere"], 0)]
)
def test_a_reader_that_leaves_gets_no_trace(arguments: list[str], code: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            program(*arguments), cwd=ROOT, check=False, stdout=closed, stderr=subprocess.PIPE
        )
    assert done.stderr == b""
    assert done.returncode == code


def test_the_program_ends_with_the_commands_exit_code() -> None:
    done = subprocess.run(
        program("config", "show", "--preset", "nope"), cwd=ROOT, check=False, capture_output=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"vitpipe: error: there is no preset 'nope'")
    done = subprocess.run(program("config", "show"), cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.endswith(b"\n")
    assert b"trainer:" in done.stdout
