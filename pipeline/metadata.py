"""ML Metadata's SQLite file, read beside a run."""

from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2


def open_store(path: Path) -> mlmd.MetadataStore:
    """The store in a file that exists; without TFX, whose import takes ten seconds."""
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    return mlmd.MetadataStore(config)


def artifacts_of_type(path: Path, type_name: str) -> list[Any]:
    """All artifacts of a type that the metadata know, cleaned away or not."""
    store = open_store(path)
    if type_name not in {kind.name for kind in store.get_artifact_types()}:
        return []
    return list(store.get_artifacts_by_type(type_name))
