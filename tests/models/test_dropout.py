"""Dropout drops its share, keeps the expectation, and follows its seed."""

from pathlib import Path

import keras
import numpy as np
import pytest

from models.dropout import Dropout


def dropped(rate: float, shape: tuple[int, ...], seed: int = 3) -> np.ndarray:
    return np.asarray(Dropout(rate, seed=seed)(np.ones(shape, "float32"), training=True))


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_the_share_is_the_rate(rate: float) -> None:
    share = (dropped(rate, (1000, 400)) == 0).mean()
    # Five standard deviations of 400,000 draws.
    assert share == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / 400_000))


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_what_is_kept_is_divided_by_the_share_that_is(rate: float) -> None:
    out = dropped(rate, (200, 100, 8))
    np.testing.assert_allclose(out[out != 0], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("rate", [1e-4, 0.9999])
def test_extreme_rates_stay_finite(rate: float) -> None:
    out = dropped(rate, (500, 64))
    assert np.isfinite(out).all()
    assert (out != 0).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_and_halves_are_independent(axis: int) -> None:
    zero = (dropped(0.5, (64, 64, 64)) == 0).astype(float) - 0.5
    for shift in (1, 2, 31, 32, 33):
        correlation = 4 * (zero * np.roll(zero, shift, axis)).mean()
        assert abs(correlation) < 5 / np.sqrt(zero.size)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_mask_of_an_image_repeats_itself_in_no_other(rate: float) -> None:
    # Were the mask a sum of what images and places have of their own, images would be alike
    # or opposite in all places together: what they have in common would vary far more.
    images, places = 200, 300
    zero = (dropped(rate, (images, places, 4)) == 0).astype(float) - rate
    for column in np.moveaxis(zero, 2, 0):
        common = (column @ column.T)[~np.eye(images, dtype=bool)]
        expected = places * (rate * (1 - rate)) ** 2
        # Five standard deviations of the mean of about 20,000 squares.
        assert (common**2).mean() == pytest.approx(expected, rel=5 * np.sqrt(2 / (images**2 / 2)))


@pytest.mark.parametrize("shape", [(7,), (3, 1), (2, 5, 9), (4, 8)])
def test_any_shape_is_kept(shape: tuple[int, ...]) -> None:
    assert dropped(0.5, shape).shape == shape


def test_the_seed_decides_and_each_call_draws_anew() -> None:
    layer = Dropout(0.5, seed=3)
    ones = np.ones((8, 64), "float32")
    first, second = (np.asarray(layer(ones, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, dropped(0.5, (8, 64)))
    assert (first != second).any()
    assert (first != dropped(0.5, (8, 64), seed=4)).any()


@pytest.mark.parametrize("training", [False, None])
def test_inference_is_left_alone(training: bool | None) -> None:
    x = np.arange(6, dtype="float32")
    np.testing.assert_array_equal(Dropout(0.5)(x, training=training), x)


def test_rate_0_drops_nothing() -> None:
    np.testing.assert_array_equal(dropped(0.0, (4, 4)), np.ones((4, 4)))


def test_bfloat16_stays_bfloat16() -> None:
    out = Dropout(0.5, seed=1, dtype="bfloat16")(np.ones((4, 4), "float32"), training=True)
    assert keras.backend.standardize_dtype(out.dtype) == "bfloat16"


def test_it_survives_saving(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), Dropout(0.25, seed=1)])
    model.save(tmp_path / "model.keras")
    (layer,) = keras.saving.load_model(tmp_path / "model.keras").layers
    assert isinstance(layer, Dropout)
    assert layer.rate == 0.25
