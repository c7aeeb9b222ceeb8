"""Gradients written by hand are those that would be derived."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.gradients import attend
from tests.models.derived import assert_same, value_and_gradients

RNG = np.random.default_rng(0)


def plain_attention(query: Any, key: Any, value: Any) -> Any:
    return tf.matmul(tf.nn.softmax(tf.matmul(query, key, transpose_b=True)), value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
# From 128 tokens on the batch goes in parts, some of which are empty where it is small.
@pytest.mark.parametrize(
    "shape", [(1, 1, 2, 1), (2, 3, 5, 4), (4, 2, 17, 8), (3, 1, 130, 2), (17, 2, 128, 4)]
)
def test_attention_is_the_plain_one(shape: tuple[int, ...], dtype: str) -> None:
    assert_same(attend, plain_attention, *(RNG.normal(size=shape).astype(dtype) for _ in range(3)))


def test_attention_with_large_scores_has_finite_gradients() -> None:
    inputs = [30 * RNG.normal(size=(1, 2, 9, 4)).astype("float32") for _ in range(3)]
    _, gradients = value_and_gradients(attend, *inputs)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_attention_works_in_bfloat16() -> None:
    x = tf.cast(RNG.normal(size=(2, 2, 6, 4)), "bfloat16")
    out = attend(x, x, x)
    assert out.dtype == "bfloat16"
    assert np.isfinite(np.asarray(out, "float32")).all()
