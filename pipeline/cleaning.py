"""Removes artifacts that no kept run needs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from pipeline.metadata import open_store
from pipeline.workdir import WorkDir


@dataclass(frozen=True)
class Cleaned:
    """What was removed: folders, and the bytes that no other name still holds."""

    folders: tuple[Path, ...]
    freed: int


def clean(workdir: WorkDir, keep: int) -> Cleaned:
    """Removes all artifacts but those of the `keep` newest runs and the latest blessed model.

    Pushed versions are copies and are never touched. The lock has to be held. A removed
    artifact is marked in the metadata first, so that no later run takes it from the cache.
    """
    kept: set[Path] = set()
    if workdir.metadata.is_file():
        kept = _settle(open_store(workdir.metadata), keep)
    doomed = [
        folder
        for folder in sorted(workdir.artifacts.glob("*/*/*"))
        if folder.is_dir() and folder not in kept and folder.parent.name != ".system"
    ]
    doomed += sorted(workdir.artifacts.glob("*/.system/*/*"))
    freed = sum(_size(folder) for folder in doomed)
    for folder in doomed:
        shutil.rmtree(folder)
    return Cleaned(tuple(doomed), freed)


def _settle(store: mlmd.MetadataStore, keep: int) -> set[Path]:
    """Marks what goes as deleted; returns the folders that stay."""
    wanted = _of_newest_runs(store, keep) | _latest_blessed(store)
    artifacts = store.get_artifacts()
    gone = [artifact for artifact in artifacts if artifact.id not in wanted]
    for artifact in gone:
        artifact.state = metadata_store_pb2.Artifact.DELETED
    store.put_artifacts(gone)
    return {Path(artifact.uri) for artifact in artifacts if artifact.id in wanted}


def _of_newest_runs(store: mlmd.MetadataStore, keep: int) -> set[int]:
    runs = sorted(store.get_contexts_by_type("pipeline_run"), key=lambda run: run.id)[-keep:]
    executions = [item.id for run in runs for item in store.get_executions_by_context(run.id)]
    if not executions:
        return set()
    return {event.artifact_id for event in store.get_events_by_execution_ids(executions)}


def _latest_blessed(store: mlmd.MetadataStore) -> set[int]:
    """The baseline of the next run: its model, and the blessing that says so."""
    blessed = [
        artifact
        for artifact in store.get_artifacts_by_type("ModelBlessing")
        if artifact.custom_properties["blessed"].int_value == 1
        and artifact.state == metadata_store_pb2.Artifact.LIVE
    ]
    if not blessed:
        return set()
    latest = max(blessed, key=lambda item: item.custom_properties["current_model_id"].int_value)
    return {latest.id, latest.custom_properties["current_model_id"].int_value}


def _size(folder: Path) -> int:
    """Bytes that removing the folder gives back; a shard may be linked from elsewhere."""
    stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)
