"""What a server sees in its folder: whole versions whose numbers only grow."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from components import versions
from components.errors import UsageError

FILES = 12
SIZE = 50_000


def make_model(folder: Path, content: str = "a") -> Path:
    """A folder in the shape of a SavedModel."""
    (folder / "variables").mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(content.encode() * SIZE)
    for number in range(FILES):
        (folder / f"variables/part-{number:02d}").write_bytes(content.encode() * SIZE)
    return folder


def is_whole(version: Path) -> bool:
    """Whether all files are there, complete, and of one model."""
    files = [version / "saved_model.pb"]
    files += [version / f"variables/part-{number:02d}" for number in range(FILES)]
    contents = {path.read_bytes() for path in files}
    provenance = json.loads((version / "assets.extra" / versions.PROVENANCE_FILE).read_text())
    recorded: str = provenance["model"]
    return (
        len(contents) == 1
        and len(contents.pop()) == SIZE
        and recorded == versions.content_digest(version)
    )


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return tmp_path / "serving/vit"


def publish(tmp_path: Path, served: Path, content: str) -> int:
    source = make_model(tmp_path / f"model-{content}", content)
    return int(versions.publish(source, served, {"run": content}).name)


class Watcher(threading.Thread):
    """Looks at the folder as TF Serving does, only more often."""

    def __init__(self, served: Path) -> None:
        # A daemon: a publish that fails must end the test, not wait for the watcher.
        super().__init__(daemon=True)
        self.served, self.stop = served, threading.Event()
        self.seen: set[int] = set()
        self.broken: list[int] = []

    def run(self) -> None:
        while not self.stop.is_set():
            # Newest first: the one that has just appeared is the one to catch.
            for version in reversed(versions.list_versions(self.served)):
                if version not in self.seen:
                    self.seen.add(version)
                    if not is_whole(self.served / str(version)):
                        self.broken.append(version)


def test_a_server_only_ever_sees_whole_versions(tmp_path: Path, served: Path) -> None:
    watcher = Watcher(served)
    watcher.start()
    numbers = [publish(tmp_path, served, content) for content in "abcdefghij" * 3]
    while versions.list_versions(served)[-1] not in watcher.seen:
        assert watcher.is_alive()
    watcher.stop.set()
    watcher.join()
    assert watcher.broken == []
    assert versions.list_versions(served) == numbers


PUBLISHER = """
import sys
from pathlib import Path
from components import versions
sources, served = [Path(p) for p in sys.argv[1:3]], Path(sys.argv[3])
print("ready", flush=True)
while True:
    for source in sources:
        versions.publish(source, served, {})
        print("published", flush=True)
"""


def kill_while_publishing(sources: list[Path], served: Path, delay: float) -> None:
    command = [sys.executable, "-c", PUBLISHER, *map(str, sources), str(served)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.stdout.read()
    assert child.returncode == -signal.SIGKILL


def test_kill_while_publishing_leaves_no_half_version(tmp_path: Path, served: Path) -> None:
    sources = [make_model(tmp_path / name, name) for name in "ab"]
    earlier: list[int] = []
    for attempt in range(8):
        kill_while_publishing(sources, served, 0.003 * attempt + 0.0011)
        found = versions.list_versions(served)
        assert all(is_whole(served / str(version)) for version in found)
        assert found[: len(earlier)] == earlier
        earlier = found
    number = publish(tmp_path, served, "z")
    assert versions.list_versions(served) == [*earlier, number]
    # Nothing of what was cut off is left.
    names = {entry.name for entry in served.iterdir()}
    assert names == {*map(str, [*earlier, number]), ".ledger.json", ".lock"}


class Killed(BaseException):
    """Stands for the end of a process, at one exact place."""


@pytest.mark.parametrize("step", ["copytree", "_flush", "_write_ledger", "rename"])
def test_publish_cut_off_at_any_step_shows_nothing(
    step: str, tmp_path: Path, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(tmp_path, served, "a")

    def die(*_: object, **__: object) -> None:
        raise Killed

    owner = {"copytree": versions.shutil, "rename": Path}.get(step, versions)
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, die)
        with pytest.raises(Killed):
            publish(tmp_path, served, "b")
    assert versions.list_versions(served) == [first]
    second = publish(tmp_path, served, "b")
    assert versions.list_versions(served) == [first, second]
    assert second > first
    names = {entry.name for entry in served.iterdir()}
    assert names == {str(first), str(second), ".ledger.json", ".lock"}


def test_the_same_model_twice_is_one_version(tmp_path: Path, served: Path) -> None:
    first = publish(tmp_path, served, "a")
    before = (served / str(first)).stat().st_ino
    assert publish(tmp_path, served, "a") == first
    assert versions.list_versions(served) == [first]
    assert (served / str(first)).stat().st_ino == before
    # Only if it is the newest: an older one has to become the newest again.
    second = publish(tmp_path, served, "b")
    third = publish(tmp_path, served, "a")
    assert first < second < third


def test_numbers_grow_when_versions_were_removed(tmp_path: Path, served: Path) -> None:
    numbers = [publish(tmp_path, served, content) for content in "abc"]
    for number in numbers:
        (served / str(number)).rename(tmp_path / f"gone-{number}")
    assert publish(tmp_path, served, "c") > numbers[-1]


def test_numbers_grow_when_the_clock_goes_back(
    tmp_path: Path, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    first = publish(tmp_path, served, "a")
    assert first == int(now)
    monkeypatch.setattr(time, "time", lambda: now - 86_400)
    second = publish(tmp_path, served, "b")
    assert second == first + 1
    monkeypatch.setattr(time, "time", lambda: now + 50)
    assert publish(tmp_path, served, "c") == int(now) + 50


def test_numbers_grow_beyond_versions_that_somebody_else_made(tmp_path: Path, served: Path) -> None:
    future = int(time.time()) + 10**6
    make_model(served / str(future))
    assert publish(tmp_path, served, "b") == future + 1
    assert is_whole(served / str(future + 1))


def test_other_names_are_no_versions(tmp_path: Path, served: Path) -> None:
    number = publish(tmp_path, served, "a")
    make_model(served / "staging-7")
    make_model(served / "v3")
    (served / "12").write_text("a file")
    assert versions.list_versions(served) == [number]
    assert versions.list_versions(tmp_path / "nowhere") == []


def test_provenance_lies_beside_the_model(tmp_path: Path, served: Path) -> None:
    source = make_model(tmp_path / "model")
    version = versions.publish(source, served, {"data": "d1", "code": "c1"})
    text = (version / "assets.extra" / versions.PROVENANCE_FILE).read_text()
    digest = versions.content_digest(source)
    assert json.loads(text) == {"data": "d1", "code": "c1", "model": digest}
    assert not (source / "assets.extra").exists(), "what was trained is not touched"


def test_the_digest_tells_names_from_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder, (name, text) in zip(
        folders, [("ab", "c"), ("a", "bc"), ("sub/ab", "c")], strict=True
    ):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    assert len({versions.content_digest(folder) for folder in folders}) == 3


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 9])
def test_retire_keeps_the_newest(keep: int, tmp_path: Path, served: Path) -> None:
    numbers = [publish(tmp_path, served, content) for content in "abcd"]
    removed = versions.retire(served, keep)
    assert removed == numbers[:-keep]
    assert versions.list_versions(served) == numbers[-keep:]
    for number in numbers:
        assert versions.is_retired(served / str(number)) == (number in removed)
    assert not list(served.glob("staging-*"))


def test_retire_of_nothing_keeps_all(tmp_path: Path, served: Path) -> None:
    numbers = [publish(tmp_path, served, content) for content in "ab"]
    assert versions.retire(served, 0) == []
    assert versions.list_versions(served) == numbers


def test_the_ledger_remembers_over_many_retirements(tmp_path: Path, served: Path) -> None:
    numbers = []
    for content in "abcde":
        numbers.append(publish(tmp_path, served, content))
        versions.retire(served, 2)
    assert [versions.is_retired(served / str(number)) for number in numbers] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert numbers == sorted(set(numbers))


def test_a_retirement_cut_off_does_not_look_like_a_loss(
    tmp_path: Path, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [publish(tmp_path, served, content) for content in "ab"]

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(versions.shutil, "rmtree", die)
        with pytest.raises(Killed):
            versions.retire(served, 1)
    assert versions.list_versions(served) == numbers[1:]
    # A version that is gone and not retired would be pushed again.
    assert versions.is_retired(served / str(numbers[0]))
    publish(tmp_path, served, "c")
    assert not list(served.glob("staging-*"))


def test_roll_back_publishes_the_old_content_under_a_new_number(
    tmp_path: Path, served: Path
) -> None:
    first, second = (publish(tmp_path, served, content) for content in "ab")
    again = versions.roll_back(served, first)
    assert int(again.name) > second
    assert is_whole(again)
    assert versions.content_digest(again) == versions.content_digest(served / str(first))
    provenance = json.loads((again / "assets.extra" / versions.PROVENANCE_FILE).read_text())
    assert provenance["rolled_back_to"] == first
    assert provenance["run"] == "a"
    assert versions.list_versions(served) == [first, second, int(again.name)]


def test_roll_back_to_the_newest_changes_nothing(tmp_path: Path, served: Path) -> None:
    number = publish(tmp_path, served, "a")
    assert versions.roll_back(served, number) == served / str(number)
    assert versions.list_versions(served) == [number]


def test_roll_back_to_an_unknown_version_names_those_there(tmp_path: Path, served: Path) -> None:
    with pytest.raises(UsageError, match=r"no version 7 under .*; there: none"):
        versions.roll_back(served, 7)
    first, second = (publish(tmp_path, served, content) for content in "ab")
    with pytest.raises(UsageError, match=f"there: {first}, {second}"):
        versions.roll_back(served, 7)


def test_extra_assets_of_the_model_are_kept(tmp_path: Path, served: Path) -> None:
    source = make_model(tmp_path / "model")
    (source / "assets.extra").mkdir()
    (source / "assets.extra/tf_serving_warmup_requests").write_bytes(b"requests")
    version = versions.publish(source, served, {})
    names = sorted(os.listdir(version / "assets.extra"))
    assert names == sorted(["tf_serving_warmup_requests", versions.PROVENANCE_FILE])


RIVAL = """
import sys
from pathlib import Path
from components import versions
from tests.components.test_versions import make_model
contents, source, served = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
for content in contents:
    print(versions.publish(make_model(source, content), served, {}).name, flush=True)
    versions.retire(served, 4)
"""


def test_two_processes_may_push_into_one_folder(tmp_path: Path, served: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RIVAL, contents, str(tmp_path / contents), str(served)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for contents in ("abcdef", "ghijkl")
    ]
    numbers = [child.communicate()[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert len({*numbers[0], *numbers[1]}) == 12, "no number is given twice"
    there = versions.list_versions(served)
    assert there == sorted(map(int, (*numbers[0], *numbers[1])))[-4:]
    assert all(is_whole(served / str(number)) for number in there)
    assert not list(served.glob("staging-*"))
