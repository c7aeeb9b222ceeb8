import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as pytest's is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def as_nobody() -> Callable[[], AbstractContextManager[None]]:
    """Takes the super user's rights away for a while: nothing is unreadable to that one."""

    @contextmanager
    def without_rights() -> Iterator[None]:
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(before)

    return without_rights
