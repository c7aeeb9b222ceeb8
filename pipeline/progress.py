"""What a person sees while the pipeline runs: live lines on a terminal, plain ones elsewhere.

The runner sends the output of TFX, Beam and TensorFlow to a file; what is here writes to
a stream that the runner kept for it.
"""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from pipeline.text import brief_metrics, duration, one_line, printable, split_logs, writes_unicode

if TYPE_CHECKING:
    from rich.console import RenderableType

State = Literal["done", "cached", "failed"]

NAME_WIDTH = 24
_STYLES = {"running": "cyan", "done": "green", "cached": "blue", "failed": "bold red"}
_MARKS = {"done": "\u2713", "cached": "=", "failed": "\u2717"}
_ASCII_MARKS = {"done": "+", "cached": "=", "failed": "x"}


class _Screen(Protocol):
    def line(self, text: str, state: str | None = None) -> None: ...
    def started(self, name: str) -> None: ...
    def training(self, now: "_Step") -> None: ...
    def epoch(self, text: str, seconds: float) -> None: ...
    def finished(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class _Step:
    epoch: int
    epochs: int
    step: int
    steps: int | None
    metrics: str


class Progress:
    """Shows the components and the training of one run.

    Interactive, the component that runs and a bar of the epoch are redrawn in place and
    finished components stay above them. Otherwise a component that starts, one that ends and
    every finished epoch is one line of plain text, and nothing is ever redrawn.
    """

    def __init__(self, stream: TextIO, interactive: bool) -> None:
        self._screen: _Screen = _LiveScreen(stream) if interactive else _PlainScreen(stream)
        self._closed = False

    def component_started(self, name: str) -> None:
        """Names the component that runs from now on."""
        self._screen.started(one_line(name))

    def component_finished(self, name: str, state: State, seconds: float) -> None:
        """Ends a component, started or (served from the cache) not."""
        if state not in _MARKS:
            raise ValueError(f"expected a state of {', '.join(_MARKS)}, got {state!r}")
        self._screen.finished()
        self._screen.line(component_line(name, state, seconds), state)

    def training(
        self, epoch: int, epochs: int, step: int, steps: int | None, logs: Mapping[str, float]
    ) -> None:
        """Step `step` of `steps` in epoch `epoch` of `epochs`, all counted from 1.

        `steps` is None where it is not known yet: Keras counts them in the first epoch.
        """
        train, _ = split_logs(logs)
        self._screen.training(_Step(epoch, epochs, step, steps, brief_metrics(train)))

    def epoch_finished(
        self, epoch: int, epochs: int, logs: Mapping[str, float], seconds: float
    ) -> None:
        """An epoch's metrics; those of evaluation start with `eval_` or `val_`."""
        self._screen.epoch(epoch_line(epoch, epochs, logs, seconds), seconds)

    def note(self, text: str) -> None:
        """A line of its own, for what is worth saying between components."""
        for part in printable(text).splitlines():
            self._screen.line(part.rstrip())

    def close(self) -> None:
        """Leaves the terminal as it was; nothing may be shown afterwards."""
        if not self._closed:
            self._closed = True
            self._screen.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def component_line(name: str, state: str, seconds: float) -> str:
    """`Trainer                  done      4 m 05 s`."""
    return f"{one_line(name):<{NAME_WIDTH}} {state:<8} {duration(seconds):>9}"


def epoch_line(epoch: int, epochs: int, logs: Mapping[str, float], seconds: float) -> str:
    """`epoch  3/30  loss 1.234 | eval loss 1.113  top-1 46.7%  top-5 91.3% | 12.3 s`.

    The accuracies are those of evaluation, or of training where nothing was evaluated.
    """
    train, evaluation = split_logs(logs)
    parts = [f"epoch {epoch:>{len(str(epochs))}}/{epochs}  "]
    if evaluation:
        loss = {"loss": train["loss"]} if "loss" in train else {}
        parts[0] += brief_metrics(loss)
        parts.append(f"eval {brief_metrics(evaluation)}")
    else:
        parts[0] += brief_metrics(train)
    return " | ".join(part.rstrip() for part in (*parts, duration(seconds)))


class _PlainScreen:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def line(self, text: str, state: str | None = None) -> None:
        # Components and notes are rare: each is flushed, so that a log can be followed.
        encoding = getattr(self._stream, "encoding", None)
        self._stream.write(printable(text, encoding).rstrip() + "\n")
        self._stream.flush()

    def started(self, name: str) -> None:
        self.line(f"{name:<{NAME_WIDTH}} running")

    def training(self, now: _Step) -> None:
        pass

    def epoch(self, text: str, seconds: float) -> None:
        self.line(f"  {text}")

    def finished(self) -> None:
        pass

    def close(self) -> None:
        self._stream.flush()


class _LiveScreen:
    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._stream = stream
        self._unicode = writes_unicode(stream)
        self._console = Console(file=stream, force_terminal=True, highlight=False)
        self._name: str | None = None
        self._since = 0.0
        self._step: _Step | None = None
        self._epoch: str | None = None
        self._epoch_seconds = 0.0
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,  # the runner owns both streams of the process
            redirect_stderr=False,
        )
        self._live.start()

    def line(self, text: str, state: str | None = None) -> None:
        from rich.text import Text

        safe = printable(text, getattr(self._stream, "encoding", None))
        if state is not None:
            marks = _MARKS if self._unicode else _ASCII_MARKS
            shown = Text.assemble((f"{marks[state]} ", _STYLES[state]), safe)
            shown.highlight_words([f" {state} "], style=_STYLES[state])
        else:
            shown = Text(safe)
        self._console.print(shown, soft_wrap=True)

    def started(self, name: str) -> None:
        self._since = time.monotonic()
        self._name = name
        self._step = self._epoch = None

    def training(self, now: _Step) -> None:
        self._step = now

    def epoch(self, text: str, seconds: float) -> None:
        self._epoch, self._epoch_seconds = text, seconds

    def finished(self) -> None:
        last = self._epoch
        self._name = self._step = self._epoch = None
        self._live.refresh()  # or the next line would redraw the old state below it
        if last is not None:
            self.line(f"  {last}")

    def close(self) -> None:
        self._name = self._step = self._epoch = None
        self._live.stop()
        self._stream.flush()

    def _render(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        self._follow_terminal_size()
        name, step, epoch = self._name, self._step, self._epoch
        if name is None:
            return Text("")
        rows: list[RenderableType] = [self._running_row(name)]
        if step is not None:
            rows.append(self._bar(step))
        if epoch is not None:
            rows.append(Text(f"  {epoch}", style="dim", no_wrap=True))
        return Group(*rows)

    def _running_row(self, name: str) -> "RenderableType":
        from rich.text import Text

        frames = "\u280b\u2819\u2838\u2834\u2826\u2807" if self._unicode else "|/-\\"
        frame = frames[int(time.monotonic() * 6) % len(frames)]
        line = component_line(name, "running", time.monotonic() - self._since)
        left = (self._remaining(), "dim")
        return Text.assemble((f"{frame} ", _STYLES["running"]), line, left, no_wrap=True)

    def _bar(self, now: _Step) -> "RenderableType":
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1))
        row.add_row(
            Text(f"  epoch {now.epoch}/{now.epochs}", no_wrap=True),
            ProgressBar(total=now.steps or None, completed=now.step, width=14),
            Text(f"{now.step}/{now.steps or '?'}  {now.metrics}", no_wrap=True),
        )
        return row

    def _remaining(self) -> str:
        step = self._step
        if step is None or self._epoch is None:
            return ""
        epochs = step.epochs - step.epoch + 1 - step.step / (step.steps or math.inf)
        return f"   about {duration(max(epochs, 0.0) * self._epoch_seconds)} left"

    def _follow_terminal_size(self) -> None:
        # rich asks the process's own standard streams, which the runner has redirected.
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):  # no terminal behind it: rich's own size holds
            return
        if size.columns > 0 and size.lines > 0:
            self._console.size = (size.columns, size.lines)
