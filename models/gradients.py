"""Functions with gradients of their own, for training.

What Keras would derive gives the same numbers, but passes over the largest tensors of a
training step several times more: on a CPU these passes, not the products, take the time.
"""

import itertools
from collections.abc import Callable
from typing import Any

from keras import ops

_Gradient = Callable[..., Any]


# Of a batch whose rows of scores are long: one part's scores stay in the processor's cache.
_PARTS, _LONG = 8, 128


@ops.custom_gradient
def attend(query: Any, key: Any, value: Any) -> tuple[Any, _Gradient]:
    """softmax(Q K^T) V for scaled queries: three times (B, H, T, D / H) -> (B, H, T, D / H).

    With weights P and the gradient G of the result, the gradient of the scores is
    P * (G V^T - rowsum(G * P V)): arXiv 2205.14135, appendix B.2. The row's sum is subtracted
    within the product, by one more column of G and V, not in another pass over the scores.
    """
    parts = list(zip(*map(_split, (query, key, value)), strict=True))
    weights = [_weights(q, k) for q, k, _ in parts]
    mixed = [ops.matmul(part, v) for part, (_, _, v) in zip(weights, parts, strict=True)]
    out = ops.concatenate(mixed, axis=0)

    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, ...]:
        (upstream,) = args or (upstream,)
        sums = ops.sum(upstream * out, axis=-1, keepdims=True)  # (B, H, T, 1)
        left = _split(ops.concatenate([upstream, -sums], axis=-1))
        right = _split(ops.concatenate([value, ops.ones_like(sums)], axis=-1))
        given = zip(weights, parts, _split(upstream), left, right, strict=True)
        found = [_gradients(*each) for each in given]
        return tuple(ops.concatenate(each, axis=0) for each in zip(*found, strict=True))

    return out, gradient


def _split(x: Any) -> list[Any]:
    if x.shape[2] < _LONG:
        return [x]
    images = ops.shape(x)[0]
    ends = [images * part // _PARTS for part in range(_PARTS + 1)]
    return [x[start:end] for start, end in itertools.pairwise(ends)]


def _weights(query: Any, key: Any) -> Any:
    return ops.softmax(ops.matmul(query, ops.swapaxes(key, -2, -1)), axis=-1)  # (B, H, T, T)


def _gradients(
    weights: Any, inputs: Any, upstream: Any, left: Any, right: Any
) -> tuple[Any, Any, Any]:
    query, key, _ = inputs
    scores = weights * ops.matmul(left, ops.swapaxes(right, -2, -1))  # (B, H, T, T)
    return (
        ops.matmul(scores, key),
        ops.matmul(ops.swapaxes(scores, -2, -1), query),
        ops.matmul(ops.swapaxes(weights, -2, -1), upstream),
    )
