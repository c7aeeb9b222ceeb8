"""Functions with gradients of their own, for training.

What Keras would derive gives the same numbers, but passes over the largest tensors of a
training step several times more: on a CPU these passes, not the products, take the time.
"""

import math
from collections.abc import Callable
from typing import Any

from keras import ops

_Gradient = Callable[..., Any]


@ops.custom_gradient
def exact_gelu(x: Any) -> tuple[Any, _Gradient]:
    """x * Phi(x), Phi the normal distribution's cumulative function; arXiv 1606.08415."""
    scaled = x * math.sqrt(0.5)
    cumulative = 0.5 + 0.5 * ops.erf(scaled)

    def gradient(*args: Any, upstream: Any = None) -> Any:
        (upstream,) = args or (upstream,)
        # exp(a + ln b) saves one pass over b exp(a).
        density = ops.exp(-0.5 * math.log(2.0 * math.pi) - scaled * scaled)
        return upstream * (cumulative + x * density)

    return x * cumulative, gradient


@ops.custom_gradient
def attend(query: Any, key: Any, value: Any) -> tuple[Any, _Gradient]:
    """softmax(Q K^T) V for scaled queries: three times (B, H, T, D / H) -> (B, H, T, D / H).

    With weights P and the gradient G of the result, the gradient of the scores is
    P * (G V^T - rowsum(G * P V)): arXiv 2205.14135, appendix B.2. The row's sum is subtracted
    within the product, by one more column of G and V, not in another pass over the scores.
    """
    weights = ops.softmax(ops.matmul(query, ops.swapaxes(key, -2, -1)), axis=-1)  # (B, H, T, T)
    out = ops.matmul(weights, value)

    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any, Any]:
        (upstream,) = args or (upstream,)
        sums = ops.sum(upstream * out, axis=-1, keepdims=True)  # (B, H, T, 1)
        left = ops.concatenate([upstream, -sums], axis=-1)
        right = ops.concatenate([value, ops.ones_like(sums)], axis=-1)
        scores = weights * ops.matmul(left, ops.swapaxes(right, -2, -1))  # (B, H, T, T)
        return (
            ops.matmul(scores, key),
            ops.matmul(ops.swapaxes(scores, -2, -1), query),
            ops.matmul(ops.swapaxes(weights, -2, -1), upstream),
        )

    return out, gradient
