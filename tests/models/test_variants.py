"""The table of named variants."""

import re
from pathlib import Path

import pytest

from models.counts import count
from models.variants import SOURCES, VARIANTS, variant
from models.vit import build_vit

README = Path(__file__).parents[2] / "models" / "README.md"
# (classes, weights)
WEIGHTS = {
    "vit_b16": (1000, 86_540_008),
    "vit_cifar": (10, 284_874),
    "cct_3_3x2": (10, 482_955),
    "cct_7_3x1": (10, 3_765_771),
    "vit_lite_7_4": (10, 3_722_250),
    "vit_demo": (10, 91_275),
    "vit_tiny": (10, 8_026),
}


def test_every_variant_has_an_expected_count() -> None:
    assert set(WEIGHTS) == set(VARIANTS)


def test_every_variant_has_a_source() -> None:
    assert list(SOURCES) == list(VARIANTS)


def row_of_readme(name: str) -> str:
    config, total = VARIANTS[name], count(VARIANTS[name], 10)
    sizes = (config.image_size, config.patch_size, config.width, config.depth, config.heads)
    numbers = [*map(str, sizes), f"{total.weights:,}", f"{total.multiply_adds:,}"]
    return f"| {' | '.join([f'`{name}`', *numbers, SOURCES[name]])} |"


def test_readme_has_the_table_of_the_code() -> None:
    _, table = README.read_text().split("| --- | ---: | ---: | ---: | ---: | ---: |", 1)
    found = re.findall(r"^\| `.*", table.split("\n\n", 1)[0], re.MULTILINE)
    assert found == [row_of_readme(name) for name in VARIANTS]


@pytest.mark.parametrize("name", WEIGHTS)
def test_number_of_weights_is_exact(name: str) -> None:
    classes, expected = WEIGHTS[name]
    model = build_vit(variant(name), classes, 0)
    trainable = sum(weight.numpy().size for weight in model.trainable_weights)
    assert (trainable, count(variant(name), classes).weights) == (expected, expected)


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_carries_its_own_name(name: str) -> None:
    assert VARIANTS[name].name == name


def test_field_can_be_replaced() -> None:
    changed = variant("vit_cifar", dropout=0.0)
    assert (changed.dropout, changed.width) == (0.0, 64)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'vit_b61' \(did you mean 'vit_b16'\?\); known are vit"):
        variant("vit_b61")


def test_unknown_field_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'dropout'"):
        variant("vit_tiny", dropuot=0.1)


def test_replaced_field_is_checked() -> None:
    with pytest.raises(ValueError, match="not a multiple of patch_size"):
        variant("vit_cifar", image_size=70)
