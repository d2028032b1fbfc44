"""Pruning: weights set to 0 by a mask that stays while training goes on.

The parameter ``weight`` gives way to the parameter ``weight_orig`` and the buffer ``weight_mask``, and is their product
whenever it is read. Pruned once more, what is left loses a share of itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from portanet.library import namespace_of
from portanet.namespace import empty_like
from portanet.nn import init
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter
from portanet.nn.utils._computed import compute, forget, is_computed, taken
from portanet.plan.recorder import writing
from portanet.tensor import Tensor

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured", "RandomStructured",
    "RandomUnstructured", "custom_from_mask", "global_unstructured", "identity", "is_pruned", "l1_unstructured",
    "ln_structured", "random_structured", "random_unstructured", "remove",
]  # fmt: skip


class BasePruningMethod:
    """A way to choose what is pruned: subclasses define `compute_mask`, and call `apply` of the class.

    >>> import portanet
    >>> prune = portanet.nn.utils.prune
    >>> class Negative(prune.BasePruningMethod):
    ...     def compute_mask(self, t, default_mask):
    ...         return default_mask * portanet.astype(t >= 0, default_mask.dtype)
    >>> layer = portanet.nn.Linear(3, 2)
    >>> _ = Negative.apply(layer, "weight")
    >>> bool(portanet.all(layer.weight >= 0))
    True
    """

    PRUNING_TYPE: ClassVar[str] = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The new mask for the importances ``t``: 0 where ``default_mask`` is 0, and where something is pruned now."""
        raise NotImplementedError(f"{type(self).__name__} defines no compute_mask(self, t, default_mask); write one.")

    @classmethod
    def apply(cls, module: Module, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any) -> Any:
        """Prune the parameter ``name`` of a module; ``args`` are those of the class. Returns the method."""
        method = cls(*args, **kwargs)
        where = f"pruning by {cls.__name__}"
        pruned = _is_pruned_here(module, name)
        original = module._parameters[f"{name}_orig"] if pruned else taken(where, module, name)
        assert original is not None
        weight = original.detach()
        before: Any = module._buffers[f"{name}_mask"] if pruned else namespace_of(weight).ones_like(weight)
        # What was pruned before adds nothing to the norm of its channel.
        importances = weight * before if importance_scores is None else importance_scores
        if tuple(importances.shape) != original.shape:
            raise ValueError(
                f"{where}: importance_scores have shape {tuple(importances.shape)}, the parameter {name} {original.shape}."
            )
        mask = method.compute_mask(importances.detach(), before)
        if pruned:
            writing(before)
            before._raw = mask._raw
            return method
        delattr(module, name)
        module.register_parameter(f"{name}_orig", original)
        module.register_buffer(f"{name}_mask", mask)
        compute(module, name, lambda owner: getattr(owner, f"{name}_orig") * getattr(owner, f"{name}_mask"))
        return method


class Identity(BasePruningMethod):
    """Nothing is pruned, but there is a mask.

    >>> import portanet
    >>> prune = portanet.nn.utils.prune
    >>> prune.Identity().compute_mask(portanet.ones(2), portanet.ones(2))
    tensor([1., 1.])
    """

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask as it was."""
        return default_mask


class _ByAmount(BasePruningMethod):
    """The least important are pruned: as many as a whole number says, or a share of those that are left."""

    def __init__(self, amount: float) -> None:
        whole = isinstance(amount, int)
        if isinstance(amount, bool) or amount < 0 or (not whole and not amount <= 1):
            raise ValueError(f"amount must be a whole number of at least 0, or a share from 0 to 1; saw {amount!r}.")
        self.amount = amount

    def _least(self, scores: Any, left: Any) -> Any:
        """1 for what stays, 0 for what is pruned now or is not among those that are left, all of one axis."""
        xp, count = namespace_of(scores), int(namespace_of(left).sum(left))
        lost = self.amount if isinstance(self.amount, int) else round(self.amount * count)
        if lost > count:
            raise ValueError(f"amount={self.amount} is more than the {count} that are left.")
        # What was pruned before stands behind all others in the order.
        order = xp.where(left > 0, scores, xp.full_like(scores, math.inf))
        ranks = xp.argsort(xp.argsort(order))
        return left * xp.astype(ranks >= lost, left.dtype)


class L1Unstructured(_ByAmount):
    """Single elements of least absolute value are pruned.

    Args:
        amount: how many of those that are left, or which share of them.

    >>> import portanet
    >>> prune = portanet.nn.utils.prune
    >>> prune.L1Unstructured(0.5).compute_mask(portanet.asarray([3.0, -1.0, 2.0, -4.0]), portanet.ones(4))
    tensor([1., 0., 0., 1.])
    """

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """0 for the elements of least absolute value."""
        xp = namespace_of(t)
        return _flatwise(xp, self._least, xp.abs(t), default_mask)


class RandomUnstructured(_ByAmount):
    """Single elements, drawn at random, are pruned.

    Args:
        amount: how many of those that are left, or which share of them.

    >>> import portanet
    >>> prune = portanet.nn.utils.prune
    >>> portanet.sum(prune.RandomUnstructured(3).compute_mask(portanet.ones(8), portanet.ones(8)))
    tensor(5.)
    """

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """0 for random elements."""
        return _flatwise(namespace_of(t), self._least, init.uniform_(empty_like(t)), default_mask)


def _flatwise(xp: Any, least: Any, scores: Any, mask: Any) -> Any:
    return xp.reshape(least(xp.reshape(scores, (-1,)), xp.reshape(mask, (-1,))), tuple(mask.shape))


class _Structured(_ByAmount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int) -> None:
        super().__init__(amount)
        self.dim = dim

    def _scores(self, rows: Any) -> Any:
        """The importance of each row."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """0 for the channels along ``dim`` that are pruned."""
        xp, shape = namespace_of(t), tuple(t.shape)
        if t.ndim < 2:
            raise ValueError(
                f"{type(self).__name__}: channels need at least two axes, the parameter has shape {shape}."
            )
        if not -t.ndim <= self.dim < t.ndim:
            raise IndexError(f"{type(self).__name__}: there is no axis dim={self.dim} in shape {shape}.")
        rows, masks = [_rows(xp, x, self.dim) for x in (t, default_mask)]
        left = xp.astype(xp.max(masks, axis=1) > 0, masks.dtype)
        kept = self._least(self._scores(rows), left)
        along = [1] * t.ndim
        along[self.dim] = -1
        return default_mask * xp.reshape(kept, tuple(along))


def _rows(xp: Any, x: Any, dim: int) -> Any:
    front = xp.moveaxis(x, dim, 0)
    return xp.reshape(front, (front.shape[0], math.prod(front.shape[1:])))


class LnStructured(_Structured):
    """Whole channels of least norm are pruned.

    Args:
        amount: how many of those that are left, or which share of them.
        n: the p of the norm: a positive number or infinity.
        dim: the axis of the channels.

    >>> import portanet
    >>> prune = portanet.nn.utils.prune
    >>> prune.LnStructured(1, 2, dim=0).compute_mask(portanet.asarray([[3.0, 4.0], [1.0, 2.0]]), portanet.ones((2, 2)))
    tensor([[1., 1.],
            [0., 0.]])
    """

    def __init__(self, amount: float, n: float, dim: int = -1) -> None:
        super().__init__(amount, dim)
        if isinstance(n, str) or not n > 0:
            raise ValueError(f"LnStructured: n must be a positive number or infinity, saw {n!r}.")
        self.n = n

    def _scores(self, rows: Any) -> Any:
        xp = namespace_of(rows)
        size = xp.abs(rows)
        return xp.max(size, axis=1) if self.n == math.inf else xp.sum(size**self.n, axis=1)


class RandomStructured(_Structured):
    """Whole channels, drawn at random, are pruned.

    Args:
        amount: how many of those that are left, or which share of them.
        dim: the axis of the channels.

    >>> import portanet
    >>> prune = portanet.nn.utils.prune
    >>> portanet.sum(prune.RandomStructured(1, dim=0).compute_mask(portanet.ones((3, 2)), portanet.ones((3, 2))))
    tensor(4.)
    """

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount, dim)

    def _scores(self, rows: Any) -> Any:
        return init.uniform_(empty_like(rows[:, 0]))


class CustomFromMask(BasePruningMethod):
    """A mask of one's own.

    >>> import portanet
    >>> prune = portanet.nn.utils.prune
    >>> prune.CustomFromMask(portanet.asarray([0.0, 1.0])).compute_mask(portanet.ones(2), portanet.ones(2))
    tensor([0., 1.])
    """

    def __init__(self, mask: Any) -> None:
        self.mask = mask if isinstance(mask, Tensor) else Tensor(mask)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """0 where the mask of one's own or that of before is 0."""
        if self.mask.shape != default_mask.shape:
            raise ValueError(
                f"CustomFromMask: the mask has shape {self.mask.shape}, the parameter {default_mask.shape}."
            )
        return default_mask * namespace_of(default_mask).astype(self.mask, default_mask.dtype)


def identity(module: Module, name: str) -> Module:
    """Give a parameter a mask of ones.

    Returns the module. Raises ValueError where it has no such parameter, or too little is left.

    >>> import portanet
    >>> layer = portanet.nn.utils.prune.identity(portanet.nn.Linear(3, 2), "weight")
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_mask']
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prune single elements at random: ``amount`` of those that are left, or a share of them.

    Returns the module. Raises ValueError where it has no such parameter, or too little is left.

    >>> import portanet
    >>> layer = portanet.nn.utils.prune.random_unstructured(portanet.nn.Linear(3, 2), "weight", 2)
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_mask']
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Any = None) -> Module:
    """Prune the elements of least absolute value, or of least importance: ``amount`` of those left, or a share.

    Returns the module. Raises ValueError where it has no such parameter, or too little is left.

    >>> import portanet
    >>> layer = portanet.nn.utils.prune.l1_unstructured(portanet.nn.Linear(3, 2), "weight", 2)
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_mask']
    """
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prune channels along ``dim`` at random: ``amount`` of those that are left, or a share of them.

    Returns the module. Raises ValueError where it has no such parameter, or too little is left.

    >>> import portanet
    >>> layer = portanet.nn.utils.prune.random_structured(portanet.nn.Linear(3, 2), "weight", 1, dim=0)
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_mask']
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: float, n: float, dim: int, importance_scores: Any = None
) -> Module:
    """Prune the channels along ``dim`` of least n-norm: ``amount`` of those that are left, or a share of them.

    Returns the module. Raises ValueError where it has no such parameter, or too little is left.

    >>> import portanet
    >>> layer = portanet.nn.utils.prune.ln_structured(portanet.nn.Linear(3, 2), "weight", 1, n=2, dim=0)
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_mask']
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Any) -> Module:
    """Prune where ``mask`` is 0.

    Returns the module. Raises ValueError where it has no such parameter, or too little is left.

    >>> import portanet
    >>> layer = portanet.nn.utils.prune.custom_from_mask(portanet.nn.Linear(3, 2), "weight", mask=portanet.ones((2, 3)))
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_mask']
    """
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: Mapping[tuple[Module, str], Any] | None = None,
    **kwargs: Any,
) -> None:
    """Prune several parameters as if they were one: a share of all elements together.

    Args:
        parameters: pairs of a module and the name of its parameter.
        pruning_method: `L1Unstructured` or `RandomUnstructured`, or one of your own of this kind.
        importance_scores: by such a pair, what is compared instead of the elements.
        kwargs: arguments of the method, such as ``amount``.

    >>> import portanet
    >>> nn = portanet.nn
    >>> a, b = nn.Linear(2, 2, bias=False), nn.Linear(2, 3, bias=False)
    >>> nn.utils.prune.global_unstructured([(a, "weight"), (b, "weight")], nn.utils.prune.L1Unstructured, amount=4)
    >>> portanet.sum(a.weight_mask) + portanet.sum(b.weight_mask)
    tensor(6.)
    """
    pairs = list(parameters)
    if not pairs:
        raise ValueError("global_unstructured: there are no parameters; a generator gives them only once.")
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            f"global_unstructured: {pruning_method.__name__} prunes channels, which belong to one parameter."
        )
    scores, masks = [], []
    for module, name in pairs:
        pruned = _is_pruned_here(module, name)
        original = module._parameters[f"{name}_orig"] if pruned else taken("global_unstructured", module, name)
        assert original is not None
        xp, given = namespace_of(original), (importance_scores or {}).get((module, name), original)
        mask: Any = module._buffers[f"{name}_mask"] if pruned else xp.ones_like(original.detach())
        scores.append(xp.reshape(given.detach(), (-1,)))
        masks.append(xp.reshape(mask, (-1,)))
    final = method.compute_mask(xp.concat(scores), xp.concat(masks))
    start = 0
    for (module, name), old in zip(pairs, masks, strict=True):
        stop, whole = start + old.shape[0], getattr(module, name)
        custom_from_mask(module, name, xp.reshape(final[start:stop], whole.shape))
        start = stop


def remove(module: Module, name: str) -> Module:
    """Make pruning permanent: the parameter is one again, with its zeros. Returns the module.

    Raises ValueError where it is not pruned.

    >>> import portanet
    >>> prune = portanet.nn.utils.prune
    >>> layer = prune.l1_unstructured(portanet.nn.Linear(3, 2), "weight", 2)
    >>> list(prune.remove(layer, "weight").state_dict())
    ['bias', 'weight']
    """
    if not _is_pruned_here(module, name):
        raise ValueError(f"prune.remove: {type(module).__name__}.{name} is not pruned.")
    value, original = getattr(module, name), module._parameters[f"{name}_orig"]
    assert isinstance(original, Parameter)
    writing(original)
    original._raw = value._raw
    delattr(module, f"{name}_orig")
    delattr(module, f"{name}_mask")
    forget(module, name)
    module.register_parameter(name, original)
    return module


def is_pruned(module: Module) -> bool:
    """Whether a parameter of the module, or of one below it, is pruned.

    >>> import portanet
    >>> portanet.nn.utils.prune.is_pruned(portanet.nn.Linear(3, 2))
    False
    """
    return any([_is_pruned_here(one, key.removesuffix("_mask")) for one in module.modules() for key in one._buffers])


def _is_pruned_here(module: Module, name: str) -> bool:
    return is_computed(module, name) and f"{name}_mask" in module._buffers
