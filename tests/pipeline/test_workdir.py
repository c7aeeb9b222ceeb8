"""Who may write in a work directory, and where things lie there."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import UsageError, VitpipeError
from pipeline.paths import require_writable
from pipeline.workdir import WorkDir

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from pipeline.workdir import WorkDir
with WorkDir(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def start_holder(root: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"locked\n"
    return child


def test_a_second_process_is_refused_and_told_who_is_at_work(tmp_path: Path) -> None:
    root = tmp_path / "work"
    with start_holder(root) as child:
        for _ in range(2):  # a refusal must not forget the holder
            with pytest.raises(VitpipeError) as caught, WorkDir(root).locked():
                pytest.fail("two processes at work")
            assert str(caught.value) == (
                f"{root} is in use by process {child.pid}: wait for it, or give another "
                "directory with --workdir"
            )
        assert caught.value.exit_code == 1
        child.kill()


def test_a_path_that_tfx_would_read_as_a_pattern_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "work[1]"
    with (
        pytest.raises(UsageError, match=r"--workdir: TFX reads \[ in a path as a wildcard"),
        WorkDir(root).locked(),
    ):
        pytest.fail("work began")
    assert not root.exists()


@pytest.mark.parametrize("folder", ["file", "file/vit/1"])
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=f"push: .*{folder} cannot be used.*is no folder"):
        require_writable(tmp_path / folder, "push")
    require_writable(tmp_path / "to/be/made", "push")


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    with start_holder(tmp_path) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        with WorkDir(tmp_path).locked():
            assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_the_lock_is_free_after_use_and_after_an_error(tmp_path: Path) -> None:
    workdir = WorkDir(tmp_path)
    with workdir.locked():
        pass
    with pytest.raises(ZeroDivisionError), workdir.locked():
        raise ZeroDivisionError
    with workdir.locked():
        pass


def test_a_shorter_process_number_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("12345678901234567890")
    with WorkDir(tmp_path).locked():
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_another_work_directory_is_free(tmp_path: Path) -> None:
    with start_holder(tmp_path / "one") as child:
        with WorkDir(tmp_path / "two").locked():
            pass
        child.kill()


def test_children_of_the_holder_do_not_keep_the_lock(tmp_path: Path) -> None:
    with WorkDir(tmp_path).locked():
        child = subprocess.Popen(["sleep", "60"])
    try:
        with WorkDir(tmp_path).locked():
            pass
    finally:
        child.kill()
        child.wait()


def test_run_ids_differ_and_name_the_time(tmp_path: Path) -> None:
    folders = [WorkDir(tmp_path).new_run() for _ in range(5)]
    assert len({folder.name for folder in folders}) == 5
    assert all(folder.is_dir() and folder.parent == tmp_path / "runs" for folder in folders)
    assert all(re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", folder.name) for folder in folders)


def test_everything_lies_under_the_root(tmp_path: Path) -> None:
    workdir = WorkDir(tmp_path)
    places = {
        workdir.metadata: "metadata.sqlite",
        workdir.artifacts: "artifacts",
        workdir.checkpoints: "checkpoints",
        workdir.runs: "runs",
        workdir.serving: "serving",
    }
    assert {path.relative_to(tmp_path).as_posix(): name for path, name in places.items()} == {
        name: name for name in places.values()
    }
