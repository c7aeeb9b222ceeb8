"""Where a stage tells how far it is.

A stage runs in the process of the local runner or alone in a container. The runner
registers a listener; without one the events are printed, a line each.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Listener = Callable[[str, dict[str, Any]], None]


def _print(event: str, values: dict[str, Any]) -> None:
    if event != "step":
        print(event, " ".join(f"{key}={value}" for key, value in values.items()), flush=True)


_listeners: list[Listener] = [_print]


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Sends the events of everything inside to `listener`."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def emit(event: str, **values: Any) -> None:
    """Tells the listener in force: `event` names it, `values` are its numbers."""
    _listeners[-1](event, values)
