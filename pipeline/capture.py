"""Sends everything a process prints to a file, and keeps the way to the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def captured_output(log: Path) -> Iterator[TextIO]:
    """Redirects stdout and stderr, of C++ libraries and children too, to `log`.

    Yields:
        A stream that still reaches what stdout was.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(target, descriptor)
    os.close(target)
    try:
        with os.fdopen(os.dup(kept[0]), "w", buffering=1) as stream:
            yield stream
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)
