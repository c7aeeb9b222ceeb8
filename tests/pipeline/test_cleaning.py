"""Old artifacts go, with what the metadata say of them; what is needed stays."""

from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.cleaning import clean
from pipeline.workdir import WorkDir

OUTPUT, INPUT = pb.Event.OUTPUT, pb.Event.INPUT


class History:
    """Runs, executions and artifacts as TFX records them, with a file in each artifact."""

    def __init__(self, root: Path) -> None:
        self.workdir = WorkDir(root)
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(self.workdir.metadata)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = mlmd.MetadataStore(config)
        self._stage = self.store.put_execution_type(pb.ExecutionType(name="Stage"))
        self._run = self.store.put_context_type(pb.ContextType(name="pipeline_run"))
        self._types = {"Model": self._put_type(pb.ArtifactType(name="Model"))}
        blessing = pb.ArtifactType(name="ModelBlessing")
        self._types["ModelBlessing"] = self._put_type(blessing)
        self._executions = 0

    def _put_type(self, kind: pb.ArtifactType) -> int:
        number: int = self.store.put_artifact_type(kind)
        return number

    def artifact(self, kind: str = "Model", **properties: int) -> pb.Artifact:
        self._executions += 1
        folder = self.workdir.artifacts / kind / "output" / str(self._executions)
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 1000)
        made = pb.Artifact(type_id=self._types[kind], uri=str(folder), state=pb.Artifact.LIVE)
        for name, value in properties.items():
            made.custom_properties[name].int_value = value
        (made.id,) = self.store.put_artifacts([made])
        return made

    def run(self, *events: tuple[pb.Artifact, int]) -> None:
        """A run whose executions produced or took these artifacts."""
        count = len(self.store.get_contexts())
        run = pb.Context(type_id=self._run, name=f"run-{count}")
        for artifact, kind in events:
            execution = pb.Execution(type_id=self._stage)
            event = pb.Event(artifact_id=artifact.id, type=kind)
            self.store.put_execution(execution, [(artifact, event)], [run], True)

    def live(self) -> set[int]:
        return {a.id for a in self.store.get_artifacts() if a.state == pb.Artifact.LIVE}

    def present(self, *artifacts: pb.Artifact) -> list[bool]:
        return [Path(artifact.uri, "file").is_file() for artifact in artifacts]


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def test_artifacts_of_the_newest_runs_stay(history: History) -> None:
    first, second, third = (history.artifact() for _ in range(3))
    for artifact in (first, second, third):
        history.run((artifact, OUTPUT))
    cleaned = clean(history.workdir, 2)
    assert history.present(first, second, third) == [False, True, True]
    assert history.live() == {second.id, third.id}
    assert [str(folder) for folder in cleaned.folders] == [first.uri]
    assert cleaned.freed == 1000


def test_an_old_artifact_that_a_newer_run_took_from_the_cache_stays(history: History) -> None:
    shared, old, new = (history.artifact() for _ in range(3))
    history.run((shared, OUTPUT), (old, OUTPUT))
    history.run((shared, INPUT), (new, OUTPUT))
    clean(history.workdir, 1)
    assert history.present(shared, old, new) == [True, False, True]


def test_the_latest_blessed_model_stays_with_its_blessing(history: History) -> None:
    models = [history.artifact() for _ in range(4)]
    blessings = [
        history.artifact("ModelBlessing", blessed=blessed, current_model_id=model.id)
        for model, blessed in zip(models, (1, 1, 0, 0), strict=True)
    ]
    for model, blessing in zip(models, blessings, strict=True):
        history.run((model, OUTPUT), (blessing, OUTPUT))
    clean(history.workdir, 1)
    assert history.present(*models) == [False, True, False, True]
    assert history.present(*blessings) == [False, True, False, True]


def test_what_nothing_remembers_goes_too(history: History) -> None:
    history.run((history.artifact(), OUTPUT))
    stray = history.workdir.artifacts / "Trainer/model/99"
    stray.mkdir(parents=True)
    scratch = history.workdir.artifacts / "Trainer/.system/executor_execution/7"
    scratch.mkdir(parents=True)
    cleaned = clean(history.workdir, 1)
    assert set(cleaned.folders) == {stray, scratch}
    assert not stray.exists()
    assert not scratch.exists()


def test_bytes_that_another_name_still_holds_are_not_counted(history: History) -> None:
    old, new = history.artifact(), history.artifact()
    Path(new.uri, "linked").hardlink_to(Path(old.uri, "file"))
    history.run((old, OUTPUT))
    history.run((new, OUTPUT))
    assert clean(history.workdir, 1).freed == 0
    assert Path(new.uri, "linked").read_bytes() == b"x" * 1000


def test_what_is_served_and_recorded_is_not_touched(history: History) -> None:
    history.run((history.artifact(), OUTPUT))
    history.run((history.artifact(), OUTPUT))
    kept = [
        history.workdir.serving / "vit/17/saved_model.pb",
        history.workdir.runs / "20261122-190355-3f2a/summary.json",
        history.workdir.checkpoints / "abc/epoch-00001/state",
    ]
    for path in kept:
        path.parent.mkdir(parents=True)
        path.write_text("kept")
    clean(history.workdir, 1)
    assert [path.read_text() for path in kept] == ["kept"] * 3


def test_cleaning_twice_removes_nothing_more(history: History) -> None:
    for _ in range(3):
        history.run((history.artifact(), OUTPUT))
    assert len(clean(history.workdir, 1).folders) == 2
    cleaned = clean(history.workdir, 1)
    assert (cleaned.folders, cleaned.freed) == ((), 0)


def test_an_empty_work_directory_is_clean(tmp_path: Path) -> None:
    assert clean(WorkDir(tmp_path), 1).folders == ()
