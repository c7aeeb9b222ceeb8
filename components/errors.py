"""Errors that end a run, each with the exit code that the command line documents.

A message says what was expected, what came, and what to do.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class VitpipeError(Exception):
    """Anything that vitpipe itself refuses or gives up on."""

    exit_code = 1


class UsageError(VitpipeError):
    """A command, a setting or a path that cannot be used as given."""

    exit_code = 2


class DataError(VitpipeError):
    """Data that preparation or the validation gate refuses."""

    exit_code = 2


class ModelRefusedError(VitpipeError):
    """A model that the Evaluator or the serving check refuses."""

    exit_code = 3


def told(error: OSError) -> str:
    """What the system said, and of which path."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


@contextmanager
def refusing(kind: type[VitpipeError], what: str) -> Iterator[None]:
    """Whatever the system refuses inside is an error of that kind, which begins with `what`."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {told(error)}") from error
