import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

NAMES = ("red", "green", "blue")


@pytest.fixture(scope="session")
def real_cifar10() -> Path:
    """The folder of the official binary batches."""
    folder = Path(os.environ.get("VITPIPE_CIFAR10", ""))
    if not (folder / "test_batch.bin").is_file():
        pytest.skip("set VITPIPE_CIFAR10 to the folder of the binary batches")
    return folder


@pytest.fixture
def binary_batches(tmp_path: Path) -> tuple[Path, dict[str, str], np.ndarray]:
    """Batches in CIFAR-10's format: their folder, digests, and (60, 3073) records."""
    records = np.random.default_rng(5).integers(0, 256, (60, 3073), np.uint8)
    records[:, 0] = np.arange(60) % len(NAMES)
    folder = tmp_path / "batches"
    folder.mkdir()
    digests = {}
    for index, name in enumerate(("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin")):
        data = records[20 * index : 20 * index + 20].tobytes()
        (folder / name).write_bytes(data)
        digests[name] = hashlib.sha1(data).hexdigest()
    names = "".join(f"{name}\n" for name in NAMES)
    (folder / "batches.meta.txt").write_text(names + "\n")
    digests["batches.meta.txt"] = hashlib.sha1(names.encode()).hexdigest()
    return folder, digests, records


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Reads all files below a folder."""

    def read(folder: Path) -> dict[str, bytes]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return read
