"""What every test needs: quiet libraries, Keras 3, properties that fail everywhere or nowhere."""

import os
import sys

import pytest
from hypothesis import settings

# Before anything imports TensorFlow: its import of Keras reads this once.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MPLBACKEND"] = "agg"

# A property fails on every machine or on none, and never for being slow.
settings.register_profile("vitpipe", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("vitpipe")

_STATUS = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remembers how the tests ended."""
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leaves at once: after Beam ran TensorFlow Transform, Python can crash on its way out."""
    if "tensorflow_transform" in sys.modules and _STATUS in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_STATUS])
