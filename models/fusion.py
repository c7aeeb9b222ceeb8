"""Chains of element-wise operations, each of which a compiler may turn into one pass.

One operation at a time, a chain reads and writes a tensor of millions of numbers for each of its
steps; on a CPU that takes several times as long as the arithmetic. Products of matrices are no
part of a chain: a framework's own are faster than a compiler's.
"""

import functools
from collections.abc import Callable
from typing import Any

_Chain = Callable[..., Any]
_Compiler = Callable[[_Chain], _Chain]

_compiler: list[_Compiler] = []


def set_compiler(compiler: _Compiler | None) -> None:
    """What compiles chains from now on, such as a wrapper of `tf.function`; None for nothing.

    Where a whole training step is compiled, as on JAX, there is nothing to gain.
    """
    _compiler[:] = [] if compiler is None else [compiler]


def fused(chain: _Chain) -> _Chain:
    """Marks a chain: it is compiled where there is a compiler, once for all that call it."""
    compiled = functools.cache(lambda compiler: compiler(chain))

    @functools.wraps(chain)
    def call(*args: Any) -> Any:
        return (compiled(_compiler[0]) if _compiler else chain)(*args)

    return call
