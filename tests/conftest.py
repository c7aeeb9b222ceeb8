"""What every test needs: quiet libraries, Keras 3, and the real data set where it was asked for."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports TensorFlow: its import of Keras reads this once.
os.environ["TF_USE_LEGACY_KERAS"] = "0"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MPLBACKEND"] = "agg"

# A property fails on every machine or on none, and never for being slow.
settings.register_profile("vitpipe", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("vitpipe")


@pytest.fixture(scope="session")
def cifar10_dir() -> Path:
    """The folder of CIFAR-10's official binary batches; for tests marked `cifar10`."""
    place = os.environ.get("VITPIPE_CIFAR10")
    if not place:
        pytest.fail("tests marked cifar10 need VITPIPE_CIFAR10=folder of the binary batches")
    if not (Path(place) / "data_batch_1.bin").is_file():
        pytest.fail(f"VITPIPE_CIFAR10={place} holds no data_batch_1.bin")
    return Path(place)
