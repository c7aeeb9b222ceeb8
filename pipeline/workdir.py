"""The work directory: where everything of a run lies, and who may write there now."""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.errors import UsageError, VitpipeError, refusing
from pipeline.paths import require_plain


@dataclass(frozen=True)
class WorkDir:
    """Paths under one work directory."""

    root: Path

    @property
    def metadata(self) -> Path:
        """ML Metadata's SQLite file."""
        return self.root / "metadata.sqlite"

    @property
    def artifacts(self) -> Path:
        """The pipeline root."""
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> Path:
        """States of unfinished trainings."""
        return self.root / "checkpoints"

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.root / "runs"

    @property
    def serving(self) -> Path:
        """What a model server watches, one folder a model."""
        return self.root / "serving"

    def new_run(self) -> Path:
        """Makes the folder of a new run; ids sort by time."""
        run_id = time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + f"-{secrets.token_hex(2)}"
        folder = self.runs / run_id
        folder.mkdir(parents=True)
        return folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other process out while inside; the lock dies with its process.

        Raises:
            UsageError: nothing can be written here, or TFX would read the path as a pattern.
            VitpipeError: another process is at work here.
        """
        require_plain(self.root, "--workdir")
        with refusing(UsageError, f"--workdir {self.root} cannot be used"):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("a+")
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise VitpipeError(
                    f"{self.root} is in use by process {holder}: wait for it, or give another "
                    "directory with --workdir"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
