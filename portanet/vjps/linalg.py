"""VJPs of products and of linear algebra."""

from __future__ import annotations

from typing import Any

VJPS: dict[str, Any] = {}


def _matmul_left(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return xp.expand_dims(g, axis=-1) * b
    if a.ndim == 1:
        return xp.reshape(xp.matmul(b, xp.expand_dims(g, axis=-1)), b.shape[:-1])
    return xp.matmul(g, xp.matrix_transpose(b))


def _matmul_right(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if a.ndim == 1:
        if b.ndim == 1:
            return g * a
        return xp.expand_dims(a, axis=-1) * xp.expand_dims(g, axis=-2)
    if b.ndim == 1:
        return xp.reshape(xp.matmul(xp.matrix_transpose(a), xp.expand_dims(g, axis=-1)), (*a.shape[:-2], a.shape[-1]))
    return xp.matmul(xp.matrix_transpose(a), g)


def _contracted(a: Any, b: Any, axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        return list(range(a.ndim - axes, a.ndim)), list(range(axes))
    return [i % a.ndim for i in axes[0]], [i % b.ndim for i in axes[1]]


def _tensordot_left(xp: Any, g: Any, y: Any, a: Any, b: Any, *, axes: Any = 2) -> Any:
    inner_a, inner_b = _contracted(a, b, axes)
    outer_a = [i for i in range(a.ndim) if i not in inner_a]
    outer_b = [i for i in range(b.ndim) if i not in inner_b]
    kept_in_g = list(range(len(outer_a), g.ndim))
    # What comes out has a's free axes, then the contracted ones in the order of b.
    product = xp.tensordot(g, b, axes=(tuple(kept_in_g), tuple(outer_b)))
    order = outer_a + [inner_a[inner_b.index(i)] for i in sorted(inner_b)]
    return xp.permute_dims(product, tuple([order.index(i) for i in range(a.ndim)]))


def _tensordot_right(xp: Any, g: Any, y: Any, a: Any, b: Any, *, axes: Any = 2) -> Any:
    inner_a, inner_b = _contracted(a, b, axes)
    outer_a = [i for i in range(a.ndim) if i not in inner_a]
    outer_b = [i for i in range(b.ndim) if i not in inner_b]
    product = xp.tensordot(a, g, axes=(tuple(outer_a), tuple(range(len(outer_a)))))
    order = [inner_b[inner_a.index(i)] for i in sorted(inner_a)] + outer_b
    return xp.permute_dims(product, tuple([order.index(i) for i in range(b.ndim)]))


def _vecdot(side: int) -> Any:
    def vjp(xp: Any, g: Any, y: Any, a: Any, b: Any, *, axis: int = -1) -> Any:
        g = xp.expand_dims(g, axis=axis)
        return g * xp.conj(a) if side else xp.conj(g * b)

    return vjp


VJPS |= {
    "matmul": (_matmul_left, _matmul_right),
    "tensordot": (_tensordot_left, _tensordot_right),
    "vecdot": (_vecdot(0), _vecdot(1)),
}
