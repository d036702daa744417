"""Compiling a function together with the arrays that it closes over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.core import eval_jaxpr


def compiled(function: Callable[..., Any], *examples: Any, donate: tuple[int, ...] = ()) -> Callable[..., Any]:
    """``jax.jit`` of a function of trees of arrays, for arguments of the shapes of ``examples``; ``donate`` counts them from 0.

    What it closes over (an encoder's weights, a style's features) becomes an argument of the program: as constants, XLA of
    jaxlib 0.7 folds them on a CPU, and the gradients of some convolutions come out wrong.
    """
    closed, result = jax.make_jaxpr(function, return_shape=True)(*examples)
    structure = jax.tree.structure(result)

    @partial(jax.jit, donate_argnums=tuple(i + 1 for i in donate))
    def program(constants: list[jax.Array], *arguments: Any) -> Any:
        return jax.tree.unflatten(structure, eval_jaxpr(closed.jaxpr, constants, *jax.tree.leaves(arguments)))

    return partial(program, closed.consts)
