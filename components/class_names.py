"""The class names, carried by the schema: annotation tags of the label, in order."""

from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components import contract
from components.errors import UsageError


def parse_schema(text: str) -> schema_pb2.Schema:
    """A schema from its text form."""
    return text_format.Parse(text, schema_pb2.Schema())


def require_schema(path: Path) -> None:
    """UsageError for a file that is no reviewed schema, before anything is held against it."""
    try:
        schema = parse_schema(path.read_text())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise UsageError(
            f"{path} is no schema in text form ({' '.join(str(error).split())}); "
            "copy components/schema.pbtxt and edit the copy"
        ) from None
    label_feature(schema)


def label_feature(schema: schema_pb2.Schema) -> schema_pb2.Feature:
    """The label's entry; UsageError where a schema has none."""
    for feature in schema.feature:
        if feature.name == contract.LABEL:
            return feature
    raise UsageError(
        f"the schema has no feature {contract.LABEL!r}; copy components/schema.pbtxt and add to it"
    )


def with_classes(text: str, class_names: Sequence[str]) -> str:
    """A reviewed schema completed with a data set's classes.

    Args:
        text: the schema in text form.
        class_names: one name a label, in the order of the labels.

    Returns:
        The schema in text form, with the label's domain 0 .. classes - 1.
    """
    schema = parse_schema(text)
    label = label_feature(schema)
    label.int_domain.min, label.int_domain.max = 0, len(class_names) - 1
    label.int_domain.is_categorical = True
    del label.annotation.tag[:]
    label.annotation.tag.extend(class_names)
    return text_format.MessageToString(schema)


def class_names(schema: schema_pb2.Schema) -> tuple[str, ...]:
    """The names that `with_classes` put in."""
    return tuple(label_feature(schema).annotation.tag)
