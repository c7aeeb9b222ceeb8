"""Bias, GELU and dropout as one function are what they are one by one, compiled or not."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models import fusion
from models.activation import activate
from models.dropout import Dropout, multiplier
from models.norm import standardise
from tests.models.derived import assert_same

RNG = np.random.default_rng(0)


@pytest.fixture(params=["plain", "XLA"], autouse=True)
def compiler(request: pytest.FixtureRequest) -> Iterator[None]:
    xla = functools.partial(tf.function, jit_compile=True, autograph=False)
    fusion.set_compiler(xla if request.param == "XLA" else None)
    yield
    fusion.set_compiler(None)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
def test_gelu_is_the_exact_one(dtype: str, tolerance: float) -> None:
    x = np.concatenate([np.linspace(-12, 12, 1001), [0.0, -40.0, 40.0]]).astype(dtype)
    cumulative = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in x.tolist()])
    density = np.exp(-(x.astype("float64") ** 2) / 2) / math.sqrt(2 * math.pi)
    bias = np.full(1, 0.25, dtype)
    tensors = [tf.constant((x - bias)[:, None]), tf.constant(bias)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        out = activate(*tensors)
    # As far out as x = -40, an error of the last bit of Phi(x) is 40 times as large.
    assert (np.abs(out[:, 0] - x * cumulative) <= tolerance * np.maximum(1, np.abs(x))).all()
    slope, of_bias = tape.gradient(out, tensors)
    np.testing.assert_allclose(slope[:, 0], cumulative + x * density, atol=3 * tolerance)
    np.testing.assert_allclose(of_bias[0], sum(slope[:, 0].numpy().tolist()), rtol=10 * tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 64), (4, 1, 9)])
def test_all_three_are_the_plain_ones(shape: tuple[int, ...], dtype: str) -> None:
    drawn = Dropout(0.25, seed=3).draw(shape)
    kept = multiplier(drawn, 0.25, dtype)

    def plain(x: Any, bias: Any) -> Any:
        # tf.nn.gelu holds the root of 2 in 32 bits.
        z = x + bias
        return 0.5 * z * (1 + tf.math.erf(z * math.sqrt(0.5))) * kept

    x, bias = (RNG.normal(size=size).astype(dtype) for size in (shape, shape[-1:]))
    assert_same(lambda x, bias: activate(x, bias, drawn, 0.25), plain, x, bias)


def test_a_bias_in_bfloat16_gets_the_sum_of_float32() -> None:
    # 256 ones and 4,096 ones both add up to 256 where the sum itself has 8 bits.
    x, bias = (tf.cast(np.full(shape, 9.0), "bfloat16") for shape in ((4096, 2), (2,)))
    with tf.GradientTape() as tape:
        tape.watch(bias)
        out = activate(x, bias)
    assert out.dtype == "bfloat16"
    np.testing.assert_array_equal(tf.cast(tape.gradient(out, bias), "float32"), [4096.0, 4096.0])


def plain_standardised(x: Any) -> Any:
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 2), (3, 7), (2, 5, 64)])
def test_standardised_is_the_plain_one(shape: tuple[int, ...], dtype: str) -> None:
    x = (2 * RNG.normal(size=shape) + 1).astype(dtype)
    assert_same(lambda x: standardise(x, 1e-3), plain_standardised, x)


def test_a_chain_is_compiled_once_for_all_that_call_it() -> None:
    calls: list[str] = []

    def compiler(chain: Any) -> Any:
        calls.append(chain.__name__)
        return chain

    @fusion.fused
    def chain(x: float) -> float:
        return 2 * x

    fusion.set_compiler(compiler)
    assert [chain(1.0), chain(2.0)] == [2.0, 4.0]
    assert calls == ["chain"]
    fusion.set_compiler(None)
    assert chain(3.0) == 6.0
