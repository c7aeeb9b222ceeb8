"""Trained weights in a model of another resolution, other classes or another pooling."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest

from models.config import ViTConfig, misfits
from models.transfer import resample_positions, transfer, weights_by_path
from models.variants import variant
from models.vit import build_vit

# Keras, of how it reads TensorFlow's variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

TINY = variant("vit_tiny", depth=1)
CONV = variant("vit_demo", depth=1, width=16, stem_channels=(8, 16))
LARGER = {"class token": (TINY, 48), "sequence pooling": (CONV, 64)}


def images(size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, size, size, 3)).astype("float32")


def grid(side: int, width: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, side * side, width)).astype("float32")


def keys_cubic(x: np.ndarray) -> np.ndarray:
    """The kernel of Keys (1981) with a = -1/2."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def reference(positions: np.ndarray, side: int) -> np.ndarray:
    """Each new patch a weighted sum of the old ones by the distance of their centres."""
    before = int(np.sqrt(positions.shape[1]))
    stretch = max(before / side, 1)
    centres = (np.arange(side) + 0.5) * before / side - 0.5
    weights = keys_cubic((centres[:, None] - np.arange(before)) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    old = positions[0].astype(float).reshape(before, before, -1)
    return np.einsum("ia,jb,abd->ijd", weights, weights, old).reshape(1, side * side, -1)


@pytest.mark.parametrize(("before", "after"), [(4, 6), (4, 8), (8, 14), (14, 8), (6, 3), (4, 1)])
def test_positions_are_resampled_in_two_dimensions(before: int, after: int) -> None:
    found = resample_positions(grid(before), after)
    assert found.shape == (1, after * after, 3)
    np.testing.assert_allclose(found, reference(grid(before), after), rtol=1e-4, atol=1e-5)


def test_positions_of_an_equal_grid_are_the_same_numbers() -> None:
    np.testing.assert_array_equal(resample_positions(grid(5), 5), grid(5))


@pytest.mark.parametrize("after", [1, 3, 7, 16])
def test_equal_positions_stay_equal(after: int) -> None:
    found = resample_positions(np.full((1, 25, 2), 0.75, "float32"), after)
    np.testing.assert_allclose(found, 0.75, rtol=1e-5)


def test_a_ramp_stays_a_ramp_inside_and_rows_stay_rows() -> None:
    rows, columns = np.mgrid[:8, :8].astype("float32")
    positions = np.stack([rows, columns], axis=2).reshape(1, 64, 2)
    found = resample_positions(positions, 16).reshape(16, 16, 2)
    ramp = (np.arange(16) + 0.5) / 2 - 0.5
    inside = slice(4, 12)
    np.testing.assert_allclose(found[inside, 8, 0], ramp[inside], atol=1e-5)
    np.testing.assert_allclose(found[8, inside, 1], ramp[inside], atol=1e-5)


def test_positions_that_form_no_square_are_refused() -> None:
    with pytest.raises(ValueError, match="square grid, got 24 patches"):
        resample_positions(np.zeros((1, 24, 2), "float32"), 4)


@pytest.mark.parametrize("config", [TINY, CONV], ids=["class token", "sequence pooling"])
def test_equal_models_give_equal_logits(config: ViTConfig) -> None:
    source, target = build_vit(config, 5, 1), build_vit(config, 5, 2)
    x = images(config.image_size)
    assert np.abs(np.array(source(x)) - np.array(target(x))).max() > 1e-3
    done = transfer(weights_by_path(source), target, keep_head=True)
    np.testing.assert_array_equal(source(x), target(x))
    assert (done.fresh, done.resampled) == ((), None)
    assert set(done.copied) == set(weights_by_path(source))


@pytest.mark.parametrize(("config", "size"), LARGER.values(), ids=LARGER)
def test_larger_images_get_all_weights_with_positions_resampled(
    config: ViTConfig, size: int
) -> None:
    source = weights_by_path(build_vit(config, 5, 1))
    target = build_vit(dataclasses.replace(config, image_size=size), 5, 2)
    done = transfer(source, target, keep_head=True)
    after, extra = weights_by_path(target), int(config.has_class_token)
    side = size // config.patch_size
    assert done.resampled == (config.grid, side) and done.fresh == ()
    moved = "embedding/positions"
    for path in set(source) - {moved}:
        np.testing.assert_array_equal(after[path], source[path])
    np.testing.assert_array_equal(after[moved][:, :extra], source[moved][:, :extra])
    expected = reference(source[moved][:, extra:], side)
    np.testing.assert_allclose(after[moved][:, extra:], expected, rtol=1e-4, atol=1e-6)
    assert np.isfinite(target(images(size))).all()


def test_where_all_patches_are_alike_the_size_does_not_change_the_answers() -> None:
    source = build_vit(dataclasses.replace(CONV, pooling="mean"), 5, 1)
    positions = source.get_layer("embedding").positions
    positions.assign(np.broadcast_to(grid(1, 16), positions.shape))
    target = build_vit(dataclasses.replace(CONV, pooling="mean", image_size=64), 5, 2)
    transfer(weights_by_path(source), target, keep_head=True)
    answers = [np.array(model(np.zeros((1, s, s, 3)))) for model, s in ((source, 32), (target, 64))]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)


@pytest.mark.parametrize("classes", [5, 7])
def test_other_classes_get_a_head_of_their_own(classes: int) -> None:
    source = weights_by_path(build_vit(TINY, 5, 1))
    target = build_vit(TINY, classes, 2)
    before = weights_by_path(target)
    done = transfer(source, target, keep_head=False)
    after = weights_by_path(target)
    assert done.fresh == ("head/kernel", "head/bias")
    for path in after:
        kept = before if path.startswith("head/") else source
        np.testing.assert_array_equal(after[path], kept[path])


def test_a_class_token_that_the_source_lacks_starts_anew() -> None:
    source = weights_by_path(build_vit(dataclasses.replace(TINY, pooling="mean"), 5, 1))
    target = build_vit(TINY, 5, 2)
    before = weights_by_path(target)
    done = transfer(source, target, keep_head=True)
    after = weights_by_path(target)
    assert done.fresh == ("embedding/class_token",)
    positions = "embedding/positions"
    np.testing.assert_array_equal(after[positions][:, :1], before[positions][:, :1])
    np.testing.assert_array_equal(after[positions][:, 1:], source[positions])


def test_a_class_token_that_the_target_lacks_is_left_behind() -> None:
    source = weights_by_path(build_vit(TINY, 5, 1))
    target = build_vit(dataclasses.replace(TINY, pooling="sequence"), 5, 2)
    done = transfer(source, target, keep_head=True)
    after = weights_by_path(target)
    assert {path.split("/")[0] for path in done.fresh} == {"pooling"}
    positions = "embedding/positions"
    np.testing.assert_array_equal(after[positions], source[positions][:, 1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 32}, r"stem/projection/kernel: expected shape \(8, 8, 3, 32\), got \(8, 8, 3"),
        ({"depth": 2}, "block_1/attention/qkv/kernel: expected, got none"),
        ({"patch_size": 4}, r"stem/projection/kernel: expected shape \(4, 4"),
    ],
)
def test_weights_of_another_architecture_change_nothing(
    change: dict[str, Any], message: str
) -> None:
    target = build_vit(dataclasses.replace(TINY, **change), 5, 2)
    before = weights_by_path(target)
    with pytest.raises(ValueError, match=message):
        transfer(weights_by_path(build_vit(TINY, 5, 1)), target, keep_head=True)
    for path, value in weights_by_path(target).items():
        np.testing.assert_array_equal(value, before[path])


def test_weights_are_taken_under_mixed_precision() -> None:
    source, target = build_vit(TINY, 5, 1), build_vit(TINY, 5, 2, "mixed_bfloat16")
    transfer(weights_by_path(source), target, keep_head=True)
    for path, value in weights_by_path(target).items():
        np.testing.assert_array_equal(value, weights_by_path(source)[path])


def test_a_saved_model_keeps_the_paths_by_which_weights_are_found(tmp_path: Any) -> None:
    source = build_vit(TINY, 5, 1)
    source.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert set(weights_by_path(loaded)) == set(weights_by_path(source))


# Each field of an architecture with another value, and whether trained weights survive it.
CHANGES: dict[str, tuple[Any, bool]] = {
    "image_size": (48, True),
    "patch_size": (16, False),
    "width": (32, False),
    "depth": (3, False),
    "heads": (4, False),
    "mlp_width": (64, False),
    "qkv_bias": (False, False),
    "mlp_output_activation": (True, False),
    "dropout": (0.1, True),
    "embedding_dropout": (0.1, True),
    "attention_dropout": (0.1, True),
    "projection_dropout": (0.1, True),
    "pooling": ("mean", True),
    "norm_epsilon": (1e-5, True),
    "name": ("other", True),
}


@pytest.mark.parametrize("field", CHANGES)
def test_what_makes_another_architecture_is_named(field: str) -> None:
    value, fits = CHANGES[field]
    wanted = dataclasses.replace(variant("vit_tiny"), **{field: value})
    assert misfits(variant("vit_tiny"), wanted) == ([] if fits else [field])


def test_every_field_of_an_architecture_is_decided_on() -> None:
    stem = {"stem", "stem_channels"}
    assert {item.name for item in dataclasses.fields(ViTConfig)} == {*CHANGES, *stem}
    conv = variant("vit_tiny", stem="conv", stem_channels=(4, 8, 16))
    assert misfits(variant("vit_tiny"), conv) == ["stem", "stem_channels"]
