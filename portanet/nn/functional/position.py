"""Codes of places in a sequence: waves that are added, and rotations by which attention sees distances."""

from __future__ import annotations

from typing import Any

from portanet.namespace import empty
from portanet.nn.functional._checks import common_namespace, dtype_of, raw_of
from portanet.nn.functional._constants import constant_like

__all__ = ["add_sinusoidal_positions", "apply_rotary", "sinusoidal_positions"]


def sinusoidal_positions(length: int, dim: int, base: float = 10000.0, *, device: Any = None, dtype: Any = None) -> Any:
    """A code for each place t: sin(t w_i) at 2i and cos(t w_i) at 2i + 1, with w_i = base ** (-2i / dim). Vaswani and
    others 2017, "Attention is all you need", section 3.5.

    Args:
        length: how many places, from 0 on.
        dim: the length of a code.
        base: what the longest wave is 2 pi times as long as, nearly.
        device: where the codes lie; None: the current backend's device.
        dtype: of the codes; None: the default, float32.

    Returns:
        of shape (length, dim).

    Raises:
        ValueError: a length below 0 or a ``dim`` below 1.
        TypeError: a dtype that is not real floating.

    >>> import portanet
    >>> portanet.nn.functional.sinusoidal_positions(2, 4)  # sin(1), cos(1), sin(1 / 100), cos(1 / 100)
    tensor([[0.        , 1.        , 0.        , 1.        ],
            [0.84147096, 0.5403023 , 0.00999983, 0.99995   ]])
    """
    if length < 0 or dim < 1:
        raise ValueError(f"sinusoidal_positions: expected length >= 0 and dim >= 1, saw {length} and {dim}.")
    like = empty((length, dim), device=device, dtype=dtype)
    _require_real("sinusoidal_positions", like)
    return _waves(common_namespace(like), like, 0, 0, base)


def add_sinusoidal_positions(input: Any, base: float = 10000.0, offset: int = 0, batch_first: bool = False) -> Any:
    """``input`` with the code of its place added to each step: see `sinusoidal_positions`.

    Args:
        input: of shape (L, N, E), (N, L, E) where ``batch_first``, or (L, E), and of a real floating dtype.
        base: as in `sinusoidal_positions`.
        offset: the place of the first step.
        batch_first: whether the batch is the first axis.

    Returns:
        of the shape and dtype of the input.

    Raises:
        ValueError: an input of other axes.
        TypeError: an input that is not real floating.

    >>> import portanet
    >>> portanet.nn.functional.add_sinusoidal_positions(portanet.zeros((1, 2)), offset=1)  # sin(1), cos(1)
    tensor([[0.84147096, 0.5403023 ]])
    """
    _require_real("SinusoidalPositions", input)
    if input.ndim not in (2, 3):
        order = "(N, L, E)" if batch_first else "(L, N, E)"
        raise ValueError(f"SinusoidalPositions: the input has shape {tuple(input.shape)}; expected {order} or (L, E).")
    xp = common_namespace(input)
    codes = _waves(xp, input, 1 if batch_first and input.ndim == 3 else 0, offset, base)
    return input + (xp.expand_dims(codes, axis=1) if input.ndim == 3 and not batch_first else codes)


def apply_rotary(input: Any, positions: Any = None, base: float = 10000.0, interleaved: bool = True) -> Any:
    """Queries or keys turned by their places: each pair (a, b) of elements by the angle t w_i, into (a cos - b sin, a sin +
    b cos), with w_i = base ** (-2i / D). The product of a query and a key, both turned, then depends on the distance of
    their places alone. Su and others 2021, "RoFormer: enhanced transformer with rotary position embedding".

    Args:
        input: of shape (..., L, D) with D even, and of a real floating dtype; as a rule (N, heads, L, D).
        positions: the places t: numbers of a shape that broadcasts to (..., L), such as (L,) or (N, 1, L); a whole number:
            that of the first, the others following; None: 0.
        base: what sets the slowest rotation.
        interleaved: whether a pair are neighbours, as in the paper, or stand in the first and the second half, as in
            GPT-NeoX and in many weights of LLaMA.

    Returns:
        of the shape and dtype of the input.

    Raises:
        ValueError: D is odd, or the places do not go with the input.
        TypeError: an input that is not real floating.

    >>> import portanet
    >>> portanet.nn.functional.apply_rotary(portanet.asarray([[1.0, 0.0], [1.0, 0.0]]))  # not turned; cos(1), sin(1)
    tensor([[1.        , 0.        ],
            [0.5403023 , 0.84147096]])
    """
    _require_real("RotaryPositions", input)
    *lead, size = input.shape
    if not lead or size % 2:
        raise ValueError(
            f"RotaryPositions: the input has shape {tuple(input.shape)}; expected (..., L, D) with D even."
        )
    positions = 0 if positions is None else positions
    if not isinstance(positions, int):
        shape = tuple(positions.shape)
        last = lead[max(len(lead) - len(shape), 0) :]
        if len(shape) > len(lead) or any([n not in (1, m) for n, m in zip(shape, last, strict=True)]):
            raise ValueError(
                f"RotaryPositions: positions have shape {shape}; expected one that broadcasts to {tuple(lead)}, as the input "
                f"has shape {tuple(input.shape)}."
            )
    xp = common_namespace(input, None if isinstance(positions, int) else positions)
    angles = _angles(xp, input, input.ndim - 2, positions, base)
    cos, sin = [xp.astype(x, input.dtype) for x in (xp.cos(angles), xp.sin(angles))]
    half = size // 2
    if interleaved:
        a, b = xp.unstack(xp.reshape(input, (*lead, half, 2)), axis=-1)
    else:
        a, b = input[..., :half], input[..., half:]
    turned = [a * cos - b * sin, a * sin + b * cos]
    return xp.reshape(xp.stack(turned, axis=-1), (*lead, size)) if interleaved else xp.concat(turned, axis=-1)


def _require_real(name: str, input: Any) -> None:
    dtype = dtype_of(raw_of(input))
    if dtype.kind != "real floating":
        raise TypeError(f"{name}: expected a real floating dtype, saw {dtype}; portanet.astype(x, portanet.float32).")


def _angles(xp: Any, like: Any, axis: int, positions: Any, base: float) -> Any:
    """t w_i, of shape (..., L, half the last axis), in single precision at least: t may be large."""
    size = like.shape[-1]
    wide = "float64" if dtype_of(raw_of(like)).name == "float64" else "float32"
    speeds = constant_like(like, [base ** (-2 * i / size) for i in range((size + 1) // 2)], wide)
    if isinstance(positions, int):
        positions = xp.positions(like, axis=axis) + positions
    return xp.expand_dims(xp.astype(positions, speeds.dtype), axis=-1) * speeds


def _waves(xp: Any, like: Any, axis: int, offset: int, base: float) -> Any:
    """The codes (L, E) of the places along one axis of ``like``, whose last axis is E."""
    angles = _angles(xp, like, axis, offset, base)
    pairs = xp.stack([xp.sin(angles), xp.cos(angles)], axis=-1)
    codes = xp.reshape(pairs, (angles.shape[0], 2 * angles.shape[1]))[:, : like.shape[-1]]
    return xp.astype(codes, like.dtype)
