"""The reviewed schema, completed with the classes of the data set at hand."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from tfx import v1 as tfx
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio

from components import class_names as classes
from components import digests
from components.settings import ValidationConfig

REVIEWED = Path(__file__).with_name("schema.pbtxt")


@component
def ReviewedSchema(
    schema: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Schema],
    reviewed: tfx.dsl.components.Parameter[str],
    class_names: tfx.dsl.components.Parameter[str],
    source_digest: tfx.dsl.components.Parameter[str],
) -> None:
    """Writes schema.pbtxt; `class_names` is a JSON list."""
    text = classes.with_classes(reviewed, json.loads(class_names))
    with fileio.open(os.path.join(schema.uri, "schema.pbtxt"), "w") as file:
        file.write(text)


def reviewed_schema(class_names: Sequence[str], config: ValidationConfig) -> tfx.types.BaseChannel:
    """The node that provides the schema which data are held against."""
    path = Path(config.schema) if config.schema else REVIEWED
    return ReviewedSchema(
        reviewed=path.read_text(),
        class_names=json.dumps(list(class_names)),
        source_digest=digests.source_digest(__name__),
    )
