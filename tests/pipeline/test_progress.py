"""Progress on a pipe is plain lines; on a terminal it is redrawn and then cleared."""

import io
import re
import subprocess
import sys

import pytest

from pipeline.progress import Progress

LOGS = {"loss": 1.25, "top_1_accuracy": 0.5, "top_5_accuracy": 0.75}
EVAL_LOGS = {**LOGS, "val_loss": 1.5, "val_top_1_accuracy": 0.25, "val_top_5_accuracy": 0.875}


def drive(progress: Progress) -> None:
    progress.component_started("ImportExampleGen")
    progress.component_finished("ImportExampleGen", "cached", 0.0)
    progress.component_started("Trainer")
    progress.training(1, 2, 3, 10, LOGS)
    progress.epoch_finished(1, 2, EVAL_LOGS, 12.34)
    progress.training(2, 2, 7, 10, LOGS)
    progress.epoch_finished(2, 2, LOGS, 61.0)
    progress.component_finished("Trainer", "done", 245.0)
    progress.note("one note\nof two lines")
    progress.component_started("Evaluator")
    progress.component_finished("Evaluator", "failed", 3.14)


def test_a_pipe_gets_plain_lines_of_components_and_epochs() -> None:
    stream = io.StringIO()
    with Progress(stream, interactive=False) as progress:
        drive(progress)
    assert [" ".join(line.split()) for line in stream.getvalue().splitlines()] == [
        "ImportExampleGen running",
        "ImportExampleGen cached 0.0 s",
        "Trainer running",
        "epoch 1/2 loss 1.250 | eval loss 1.500 top-1 25.0% top-5 87.5% | 12.3 s",
        "epoch 2/2 loss 1.250 top-1 50.0% top-5 75.0% | 1 m 01 s",
        "Trainer done 4 m 05 s",
        "one note",
        "of two lines",
        "Evaluator running",
        "Evaluator failed 3.1 s",
    ]


def test_plain_lines_fit_80_columns() -> None:
    stream = io.StringIO()
    with Progress(stream, interactive=False) as progress:
        drive(progress)
        progress.epoch_finished(30, 30, EVAL_LOGS, 599.0)
    assert max(map(len, stream.getvalue().splitlines())) <= 80


def test_a_pipe_gets_no_control_characters_whatever_the_names_hold() -> None:
    stream = io.StringIO()
    with Progress(stream, interactive=False) as progress:
        progress.component_finished("Trai\x1b[2Jner\n\r\x07", "done", 1.0)
        progress.note("id \x1b[31mred\x9b \u202ereversed [bold]kept[/bold]")
    text = stream.getvalue()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert "[bold]kept[/bold]" in text
    assert len(text.splitlines()) == 2


def test_a_stream_that_cannot_write_a_character_does_not_stop_the_run() -> None:
    raw = io.BytesIO()
    for interactive in (False, True):
        stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
        with Progress(stream, interactive=interactive) as progress:
            progress.component_started("Trainer")
            progress.training(1, 2, 3, 10, LOGS)
            progress.note("café")
            progress.component_finished("Trainer", "done", 1.0)
        stream.detach()
    assert raw.getvalue().count(b"caf?") == 2


def test_a_terminal_shows_the_bar_while_training_and_the_lines_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    with Progress(stream, interactive=True) as progress:
        drive(progress)
        progress.component_started("Trainer")
        progress.training(1, 2, 3, 10, LOGS)
        progress.epoch_finished(1, 2, EVAL_LOGS, 12.34)
        progress._screen._live.refresh()  # type: ignore[attr-defined]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "3/10  loss 1.250  top-1 50.0%  top-5 75.0%" in text
    assert "running" in text
    assert re.search(r"about \d+\.\d s left", text)
    assert re.search(r"ImportExampleGen +cached +0\.0 s", text)
    assert re.search(r"Evaluator +failed +3\.1 s", text)
    assert "\x1b[?25h" in stream.getvalue(), "the cursor is shown again"


def test_an_unknown_number_of_steps_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    with Progress(stream, interactive=True) as progress:
        progress.component_started("Trainer")
        progress.training(1, 2, 3, None, LOGS)
        progress.epoch_finished(1, 2, LOGS, 12.0)
        progress._screen._live.refresh()  # type: ignore[attr-defined]
    assert "3/?  loss 1.250" in stream.getvalue()


def test_a_finished_component_is_not_drawn_as_running_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    with Progress(stream, interactive=True) as progress:
        progress.component_started("Trainer")
        progress._screen._live.refresh()  # type: ignore[attr-defined]
        progress.component_finished("Trainer", "done", 1.0)
    after = stream.getvalue().rsplit("done", 1)[1]
    assert "running" not in after


def test_text_that_looks_like_markup_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    with Progress(stream, interactive=True) as progress:
        progress.note("[red]class[/red] [/]")
    assert "[red]class[/red] [/]" in stream.getvalue()


def test_an_unknown_state_is_refused() -> None:
    with (
        Progress(io.StringIO(), interactive=False) as progress,
        pytest.raises(ValueError, match="expected a state of done, cached, failed"),
    ):
        progress.component_finished("Trainer", "finished", 1.0)  # type: ignore[arg-type]


def test_closing_twice_is_harmless() -> None:
    for interactive in (False, True):
        progress = Progress(io.StringIO(), interactive=interactive)
        progress.close()
        progress.close()


def test_rich_is_not_imported_before_a_terminal_is_drawn_on() -> None:
    code = (
        "import sys, pipeline.progress as p; "
        "p.Progress(sys.stdout, False).component_finished('Trainer', 'done', 1); "
        "sys.exit(any(m in sys.modules for m in ('rich', 'tensorflow', 'keras', 'tfx')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
