"""The way back for Tensors: seeds in, gradients out, and the conjugation between transposes and gradients at the door.

The class of Tensors stands above this floor, so it is handed in: ``make(raw, node)``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from portanet import autocasting
from portanet.library import as_array, libraries, namespace_of, require_same
from portanet.memory import OutOfMemoryError
from portanet.reading import Reading
from portanet.tape import Form, Node, Output, recording, walk


def pull_back(
    make: Callable[..., Any],
    outputs: list[Any],
    gradients: list[Any],
    *,
    wanted: set[Node] | None = None,
    ends: bool = False,
    retain: bool = False,
    create: bool = False,
) -> dict[Node, Any]:
    """The gradients that arrive at the ``wanted`` nodes (None: at every leaf), as Tensors."""
    seeds = [_seed(make, output, gradient, create) for output, gradient in zip(outputs, gradients, strict=True)]
    hooked = functools.partial(_hooked, make, create)
    token = recording.set(create)
    region = autocasting.current.set(None)  # each operation goes back in the dtype that it had
    try:
        if create:
            found = walk(seeds, wanted=wanted, ends=ends, retain=retain, lift=_lift(make), hooked=hooked)
            return {node: conjugated(g) for node, g in found.items()}
        found = walk(seeds, wanted=wanted, ends=ends, retain=retain, hooked=hooked)
        for node, g in found.items():
            library = libraries.get(type(g)) or namespace_of(g)  # NumPy's scalars are no arrays
            if library.dtypes[g.dtype].kind == "complex floating":
                g = library.conj(g)
            found[node] = make(g)
        return found
    except OutOfMemoryError as problem:
        raise problem.with_traceback(None)  # the frames of the walk hold gradients  # noqa: B904
    finally:
        recording.reset(token)
        autocasting.current.reset(region)


def _lift(make: Callable[..., Any]) -> Callable[[Any, Node | None], Any]:
    """Makes Tensors of what a node keeps, so that the walk itself is recorded."""

    def lift(value: Any, node: Node | None) -> Any:
        if isinstance(value, tuple):
            return tuple([make(y, Output(node, i) if node is not None else None) for i, y in enumerate(value)])
        if value is None or type(value) is Form:  # what no rule looks at, or a checkpoint used without being given it
            return value
        return make(value, node) if node is not None or type(value) in libraries else value

    return lift


def _hooked(make: Callable[..., Any], create: bool, hook: Callable[[Any], Any], g: Any) -> Any:
    """Calls a hook with a gradient as its user knows it, and takes what it returns for one."""
    result = hook(conjugated(g if create else make(g)))
    if result is None:
        return g
    result = conjugated(result if isinstance(result, Reading) else make(result))
    return result if create else result._raw


def _seed(make: Callable[..., Any], output: Any, gradient: Any, create: bool) -> tuple[Node, Any]:
    if output._node is None:
        raise RuntimeError(
            "backward needs a Tensor that requires grad, and nothing this one was computed from does; call "
            "requires_grad_() on an input, and check that no_grad() is not active."
        )
    if gradient is None:
        if output._raw.shape != () and output.size != 1:
            raise RuntimeError(
                f"backward without a gradient needs a single element, this has shape {output.shape}; reduce it with "
                "portanet.sum or portanet.mean, or pass gradient= of that shape."
            )
        g = namespace_of(output._raw).ones_like(output._raw)
        return output._node, make(g) if create else g
    else:
        if not isinstance(gradient, Reading):
            gradient = make(as_array(gradient))
        require_same("backward", output._raw, gradient._raw)
        if gradient.shape != output.shape:
            raise ValueError(f"gradient has shape {gradient.shape}, the Tensor {output.shape}; they must be equal.")
        gradient = conjugated(gradient)
    return output._node, gradient if create else gradient._raw


def conjugated(g: Any) -> Any:
    """A transpose's cotangent as PyTorch's gradient, or back: the complex conjugate."""
    return namespace_of(g).conj(g) if g.dtype.kind == "complex floating" else g
