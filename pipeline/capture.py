"""Keeps what libraries print from the terminal: it goes to a file, or nowhere."""

import os
import shutil
import sys
import tempfile
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


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Holds stderr back, of C++ libraries too; it comes out only if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said, os.fdopen(kept, "wb") as terminal:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except Exception:
            sys.stderr.flush()
            said.seek(0)
            shutil.copyfileobj(said, terminal)
            raise
        finally:
            sys.stderr.flush()
            terminal.flush()
            os.dup2(kept, 2)
