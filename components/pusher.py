"""Pusher: a blessed model that can be served becomes a new version, at once and whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tfx import v1 as tfx
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import digests, versions
from components.settings import PusherConfig


@component
def Pusher(
    model: tfx.dsl.components.InputArtifact[standard_artifacts.Model],
    blessing: tfx.dsl.components.InputArtifact[standard_artifacts.ModelBlessing],
    infra_blessing: tfx.dsl.components.InputArtifact[standard_artifacts.InfraBlessing],
    pushed_model: tfx.dsl.components.OutputArtifact[standard_artifacts.PushedModel],
    model_dir: tfx.dsl.components.Parameter[str],
    keep: tfx.dsl.components.Parameter[int],
    provenance: tfx.dsl.components.Parameter[str],
    missing: tfx.dsl.components.Parameter[str],
    source_digest: tfx.dsl.components.Parameter[str],
) -> None:
    """Pushes, or records that it did not.

    `missing` changes when a version that was pushed is gone, so that the cache is missed.
    """
    blessed = blessing.get_int_custom_property("blessed") == 1
    servable = infra_blessing.get_int_custom_property("blessed") == 1
    pushed_model.set_int_custom_property("pushed", int(blessed and servable))
    if not (blessed and servable):
        return
    source = Path(path_utils.serving_model_path(model.uri))
    pushed = versions.publish(source, Path(model_dir), json.loads(provenance))
    versions.retire(Path(model_dir), keep)
    pushed_model.set_string_custom_property("pushed_destination", str(pushed))
    pushed_model.set_string_custom_property("pushed_version", pushed.name)


@dataclass(frozen=True)
class Target:
    """Where to push: `model_dir` is watched by the server, `provenance` goes beside the model."""

    model_dir: str
    config: PusherConfig
    provenance: Mapping[str, str]
    missing: str


def pusher(
    model: tfx.types.BaseChannel,
    blessing: tfx.types.BaseChannel,
    infra_blessing: tfx.types.BaseChannel,
    target: Target,
) -> tfx.types.BaseComponent:
    """The last node."""
    return Pusher(
        model=model,
        blessing=blessing,
        infra_blessing=infra_blessing,
        model_dir=target.model_dir,
        keep=target.config.keep,
        provenance=json.dumps(dict(target.provenance), sort_keys=True),
        missing=target.missing,
        source_digest=digests.source_digest(__name__),
    )
