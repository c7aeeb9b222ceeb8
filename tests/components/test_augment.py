"""Augmentation: what it changes, what it keeps, and that a seed repeats it."""

import numpy as np
import pytest
import tensorflow as tf

from components import augment as module
from components.augment import augment
from components.settings import AUGMENTATIONS

CHANGING = [policy for policy in AUGMENTATIONS if policy != "none"]
each_policy = pytest.mark.parametrize("policy", CHANGING)


def batch(count: int = 8, size: int = 16) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, size, size, 3)).astype("float32")


def fixed(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Makes the policy draw these numbers, each from 0 to below 1, for every image."""

    def draw(images: tf.Tensor, seed: object, rows: int, place: None) -> list[tf.Tensor]:
        assert rows == len(values)
        return [tf.fill(tf.shape(images)[:1], value) for value in values]

    monkeypatch.setattr(module, "_uniform", draw)


def test_none_changes_nothing() -> None:
    images = batch()
    np.testing.assert_array_equal(augment(images_tensor(images), "none", (1, 2)), images)


def images_tensor(images: np.ndarray) -> tf.Tensor:
    return tf.constant(images)


@each_policy
@pytest.mark.parametrize("size", [8, 15, 32])
def test_shape_and_type_are_kept_and_numbers_finite(policy: str, size: int) -> None:
    changed = augment(images_tensor(batch(size=size)), policy, (1, 2))
    assert (changed.shape, changed.dtype) == ((8, size, size, 3), tf.float32)
    assert np.isfinite(changed).all()


@each_policy
def test_equal_seeds_give_equal_images(policy: str) -> None:
    images = images_tensor(batch())
    first = augment(images, policy, (1, 2))
    np.testing.assert_array_equal(first, augment(images, policy, (1, 2)))
    for other in ((2, 2), (1, 3)):
        assert np.abs(first - augment(images, policy, other)).max() > 0.1


@each_policy
def test_graph_gives_what_eager_gives(policy: str) -> None:
    images = images_tensor(batch())
    compiled = tf.function(lambda x, seed: augment(x, policy, seed))
    expected = augment(images, policy, (1, 2))
    np.testing.assert_allclose(compiled(images, tf.constant([1, 2])), expected, atol=1e-5)


@each_policy
def test_images_of_a_batch_are_changed_differently(policy: str) -> None:
    images = np.repeat(batch(1), 8, axis=0)
    changed = np.array(augment(images_tensor(images), policy, (1, 2)))
    # Two images may well draw the same of 50 crops.
    assert len({image.tobytes() for image in changed}) > 4


@each_policy
def test_half_of_the_images_are_flipped(policy: str) -> None:
    ramp = np.broadcast_to(np.linspace(-1, 1, 16, dtype="float32")[None, None, :, None],
                           (2000, 16, 16, 3))  # fmt: skip
    changed = np.array(augment(images_tensor(ramp), policy, (1, 2)))
    falling = changed[:, :, 12:].mean(axis=(1, 2, 3)) < changed[:, :, :4].mean(axis=(1, 2, 3))
    # Five standard deviations of 2,000 fair coins.
    assert abs(falling.mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)


def test_crop_is_a_window_of_the_mirrored_image() -> None:
    images = batch(size=16)
    changed = np.array(augment(images_tensor(images), "crop_flip", (1, 2)))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    for image, result in zip(padded, changed, strict=True):
        windows = [image[i : i + 16, j : j + 16] for i in range(5) for j in range(5)]
        assert any(np.array_equal(result, w) or np.array_equal(result, w[:, ::-1]) for w in windows)


def test_crops_reach_every_shift_alike() -> None:
    images = np.zeros((4000, 16, 16, 3), "float32")
    images[:, 8, 8] = 1.0
    changed = np.array(augment(images_tensor(images), "crop_flip", (1, 2)))[..., 0]
    rows = np.bincount(np.nonzero(changed)[1], minlength=16)
    assert set(np.nonzero(rows)[0]) == {6, 7, 8, 9, 10}
    # Each shift has probability 1/5: five standard deviations of 4,000 draws.
    assert np.abs(rows[6:11] - 800).max() < 5 * np.sqrt(4000 * 0.2 * 0.8)


def test_unturned_unzoomed_image_is_only_flipped(monkeypatch: pytest.MonkeyPatch) -> None:
    images = batch()
    fixed(monkeypatch, 0.9, 0.5, 0.5, 0.5)
    kept = augment(images_tensor(images), "flip_rotate_zoom", (1, 2))
    np.testing.assert_allclose(kept, images, atol=1e-5)
    fixed(monkeypatch, 0.1, 0.5, 0.5, 0.5)
    flipped = augment(images_tensor(images), "flip_rotate_zoom", (1, 2))
    np.testing.assert_allclose(flipped, images[:, :, ::-1], atol=1e-5)


@pytest.mark.parametrize(
    ("draws", "row", "column"),
    [
        # Zoom draws 1.0 and 0.0 read 1.2 and 0.8 times as far from the centre.
        ((0.9, 0.5, 1.0, 0.5), 10 * 1.2, 10 * 1.0),
        ((0.9, 0.5, 0.5, 0.0), 10 * 1.0, 10 * 0.8),
        ((0.1, 0.5, 0.5, 0.0), 10 * 1.0, -10 * 0.8),
    ],
)
def test_zoom_reads_its_axis_only(
    monkeypatch: pytest.MonkeyPatch, draws: tuple[float, ...], row: float, column: float
) -> None:
    place = np.arange(33, dtype="float32") - 16
    images = np.stack(np.broadcast_arrays(place[:, None], place[None, :], 0.0), -1)[None]
    fixed(monkeypatch, *draws)
    changed = np.array(augment(images_tensor(images.astype("float32")), "flip_rotate_zoom", (1, 2)))
    np.testing.assert_allclose(changed[0, 26, 26], [row, column, 0.0], atol=1e-3)


def test_rotation_turns_by_a_fiftieth_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    place = np.arange(33, dtype="float32") - 16
    images = np.stack(np.broadcast_arrays(place[:, None], place[None, :], 0.0), -1)[None]
    fixed(monkeypatch, 0.9, 1.0, 0.5, 0.5)
    changed = np.array(augment(images_tensor(images.astype("float32")), "flip_rotate_zoom", (1, 2)))
    angle = 0.02 * 2 * np.pi
    np.testing.assert_allclose(
        changed[0, 16, 26], [10 * np.sin(angle), 10 * np.cos(angle), 0.0], atol=1e-3
    )


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="policy: expected one of none, flip_rotate_zoom"):
        augment(images_tensor(batch()), "cutout", (1, 2))


def test_images_that_are_not_square_are_refused() -> None:
    with pytest.raises(ValueError, match="expected square images of a fixed size, got 16 x 8"):
        augment(images_tensor(batch()[:, :, :8]), "crop_flip", (1, 2))


@each_policy
def test_a_part_of_a_batch_changes_as_it_would_in_the_whole(policy: str) -> None:
    images = images_tensor(batch())
    whole = augment(images, policy, (1, 2))
    part = augment(images[3:6], policy, (1, 2), (3, 8))
    np.testing.assert_array_equal(part, whole[3:6])
