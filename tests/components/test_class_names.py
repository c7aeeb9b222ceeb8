"""The class names travel in the schema, in the order of the labels."""

import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from components import class_names, contract
from components.errors import UsageError
from components.schema import REVIEWED

NAMES = ["plane", "überraschung", 'quote " and \\', "plane 2"]


def test_names_come_back_in_order() -> None:
    schema = class_names.parse_schema(class_names.with_classes(REVIEWED.read_text(), NAMES))
    assert class_names.class_names(schema) == tuple(NAMES)


def test_the_domain_of_the_label_is_that_of_the_classes() -> None:
    schema = class_names.parse_schema(class_names.with_classes(REVIEWED.read_text(), NAMES))
    domain = class_names.label_feature(schema).int_domain
    assert (domain.min, domain.max, domain.is_categorical) == (0, 3, True)


def test_other_classes_replace_the_earlier_ones() -> None:
    text = class_names.with_classes(REVIEWED.read_text(), NAMES)
    schema = class_names.parse_schema(class_names.with_classes(text, ["a", "b"]))
    assert class_names.class_names(schema) == ("a", "b")
    assert class_names.label_feature(schema).int_domain.max == 1


def test_what_was_reviewed_is_presence_valency_types_and_the_missing_label_in_serving() -> None:
    schema = class_names.parse_schema(REVIEWED.read_text())
    features = {feature.name: feature for feature in schema.feature}
    assert set(features) == {contract.ID, contract.IMAGE, contract.LABEL}
    for feature in features.values():
        assert (feature.presence.min_fraction, feature.presence.min_count) == (1.0, 1)
        assert feature.HasField("shape")
        assert list(feature.shape.dim) == []
    assert features[contract.LABEL].type == schema_pb2.INT
    assert features[contract.IMAGE].type == features[contract.ID].type == schema_pb2.BYTES
    assert list(features[contract.LABEL].not_in_environment) == ["SERVING"]
    assert set(schema.default_environment) == {"TRAINING", "SERVING"}


def test_a_schema_without_a_label_is_refused() -> None:
    with pytest.raises(UsageError, match="the schema has no feature 'label'"):
        class_names.with_classes('feature { name: "image" type: BYTES }', NAMES)
