"""Mixed precision under PyTorch's names: `autocast`, `GradScaler`, and float32 copies of half-width parameters.

A training step in float16 on float32 parameters:

>>> import portanet
>>> from portanet import amp, nn, optim
>>> generator = portanet.manual_seed(0)
>>> x = portanet.rand(64, 3)
>>> y = portanet.sum(x, axis=1, keepdims=True)
>>> model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
>>> optimizer = optim.Adam(model.parameters(), lr=0.05)
>>> scaler = amp.GradScaler(init_scale=1024.0)
>>> for step in range(60):
...     optimizer.zero_grad()
...     with amp.autocast(dtype="float16"):
...         loss = nn.functional.mse_loss(model(x), y)
...     scaler.scale(loss).backward()
...     scaler.unscale_(optimizer)
...     norm = nn.utils.clip_grad_norm_(model.parameters(), 10.0)
...     scaler.step(optimizer)
...     scaler.update()
>>> loss.item() < 0.01
True
"""

from __future__ import annotations

from typing import Any, TypeVar

from portanet.autocasting import autocast
from portanet.library import device_of, move, namespace_of
from portanet.namespace import asarray
from portanet.optim.masters import is_half
from portanet.optim.optimizer import Optimizer
from portanet.plan.recorder import Refused, active, refuse_while_recording
from portanet.tensor import Tensor

__all__ = ["GradScaler", "autocast", "master_weights"]

O = TypeVar("O", bound=Optimizer)  # noqa: E741


class GradScaler:
    """Loss scaling: the loss times a factor, so that small gradients do not vanish in float16; and steps left out where one
    overflowed.

    Micikevicius and others 2018, "Mixed precision training", section 3.2; the factor is found as in PyTorch: an overflow
    halves it and the step is left out; ``growth_interval`` steps without one double it.

    The scale, the count of good steps and whether something overflowed stay on the device of the loss. `step` reads one
    truth value an optimizer from there, as PyTorch's does: by it the host knows whether to step, so that optimizers need
    know nothing of scaling, write in place, and count exactly the steps that they took. In a step that `portanet.compile`
    traces (JAX, PyTorch) the choice is made on the device; name the scaler in ``state=(model, optimizer, scaler)``.

    Args:
        init_scale: the factor at the start, above 0.
        growth_factor: what it is multiplied with after ``growth_interval`` good steps in a row, above 1.
        backoff_factor: what it is multiplied with after an overflow, between 0 and 1.
        growth_interval: how many good steps in a row make it grow.
        enabled: False for a scaler that does nothing: the loss stays as it is, and every step is taken.

    Raises:
        ValueError: a number is out of range.

    >>> import portanet
    >>> from portanet import amp, optim
    >>> w = portanet.tensor([1.0], requires_grad=True)
    >>> optimizer, scaler = optim.SGD([w], lr=0.5), amp.GradScaler(init_scale=1024.0)
    >>> scaler.scale(portanet.sum(w * float("inf"))).backward()
    >>> scaler.step(optimizer)  # left out: the gradient is infinite
    >>> scaler.update()
    >>> w.tolist(), scaler.get_scale()
    ([1.0], 512.0)
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        _require("init_scale", init_scale, init_scale > 0, "above 0")
        _require("growth_factor", growth_factor, growth_factor > 1, "above 1")
        _require("backoff_factor", backoff_factor, 0 < backoff_factor < 1, "between 0 and 1")
        _require("growth_interval", growth_interval, growth_interval >= 1, "of at least 1")
        self._growth_factor, self._backoff_factor = float(growth_factor), float(backoff_factor)
        self._growth_interval, self._enabled = int(growth_interval), bool(enabled)
        self._scale = asarray(float(init_scale), dtype="float32")
        self._tracker = asarray(0, dtype="int32")
        self._found: dict[int, Any] = {}  # by the optimizer whose gradients were unscaled: whether one overflowed
        self._stepped: set[int] = set()

    @property
    def tensors(self) -> list[Tensor]:
        """The scale and the count of good steps, which a compiled step reads and changes."""
        return [self._scale, self._tracker] if self._enabled else []

    def place(self, raw: Any) -> None:
        """Have the scale and the count lie in the library and on the device of a raw array."""
        for tensor in self.tensors:
            tensor._raw = move(tensor._raw, namespace_of(raw), device_of(raw))

    # ---------------------------------------------------------------------------------------------------------- a step

    def scale(self, outputs: Any) -> Any:
        """A loss, or each of a list or tuple of losses, times the scale: call ``backward`` on that.

        A loss of a half-width dtype comes out in float32.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(one) for one in outputs])
        if not isinstance(outputs, Tensor):
            raise TypeError(f"GradScaler.scale: expected a Tensor, or a list of them, saw {type(outputs).__name__}.")
        self._require_held("scale")
        if active.get() is None:
            self.place(outputs._raw)
        return outputs * Tensor(self._on(outputs._raw))

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, so that they can be looked at or clipped.

        `step` does so where it was not done. A half-width gradient becomes float32, for `master_weights`.

        Raises:
            RuntimeError: it was done since the last `update`, or the step was taken.
            ValueError: a parameter is of a half-width dtype, and the optimizer keeps no float32 copy of it.
        """
        if not self._enabled:
            return
        self._require_held("unscale_")
        if id(optimizer) in self._stepped:
            raise RuntimeError(
                "GradScaler.unscale_: step() was called for this optimizer already; call update() first."
            )
        if id(optimizer) in self._found:
            raise RuntimeError("GradScaler.unscale_: it was called for this optimizer since the last update().")
        groups: dict[Any, list[Tensor]] = {}
        for p in [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]:
            xp = namespace_of(p._raw)
            if is_half(xp, p._raw) and not optimizer.masters:
                raise ValueError(
                    f"GradScaler.unscale_: a parameter is {p.dtype}, where gradients without the scale vanish; keep the "
                    "parameters in float32 and use autocast, or wrap the optimizer: portanet.amp.master_weights(optimizer)."
                )
            place = None if active.get() is not None else str(device_of(p._raw))
            groups.setdefault((id(xp), place), []).append(p)
        if not groups:
            raise ValueError(
                "GradScaler.unscale_: no parameter of the optimizer has a gradient; call backward() first."
            )
        found = None
        for params in groups.values():
            overflowed = self._divide(params)
            found = overflowed if found is None else namespace_of(found).logical_or(found, overflowed)
        self._found[id(optimizer)] = found

    def _divide(self, params: list[Tensor]) -> Any:
        """The gradients of parameters on one device by the scale; whether one overflowed, where the scale lies."""
        gradients: list[Any] = [p.grad for p in params]
        xp, scale = namespace_of(params[0]._raw), self._on(params[0]._raw)
        divided, found = xp.unscaled([g._raw for g in gradients], 1 / scale)
        for p, g in zip(params, divided, strict=True):
            p.grad = Tensor(g)
        return found if active.get() is not None else move(found, *self._where())

    def step(self, optimizer: Optimizer, closure: Any = None) -> Any:
        """Step the optimizer, unless a gradient overflowed; then its parameters and state are left as they are.

        Returns:
            what ``optimizer.step()`` returns; None where it was left out.

        Raises:
            RuntimeError: it was called since the last `update`, or with a closure, which would compute gradients anew.
        """
        if not self._enabled:
            return optimizer.step() if closure is None else optimizer.step(closure)
        if closure is not None:
            raise RuntimeError("GradScaler.step: a closure computes gradients anew, unscaled; step without one.")
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.step: it was called for this optimizer since the last update().")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        found = self._found[id(optimizer)]
        recorder = active.get()
        if recorder is not None:
            return recorder.advance_unless(optimizer, found)
        return None if bool(found) else optimizer.step()

    def update(self, new_scale: float | None = None) -> None:
        """Move the scale on after the steps of all optimizers: down after an overflow, up after many steps without one.

        Args:
            new_scale: the scale from here on, instead; above 0.

        Raises:
            RuntimeError: no optimizer's gradients were unscaled since the last `update`.
        """
        if not self._enabled:
            return
        self._require_held("update")
        flags = list(self._found.values())
        self._found, self._stepped = {}, set()
        if new_scale is not None:
            refuse_while_recording("GradScaler.update(new_scale)")
            _require("new_scale", new_scale, new_scale > 0, "above 0")
            self._scale._raw = self._filled(self._scale, float(new_scale))
            return
        if not flags:
            raise RuntimeError("GradScaler.update: there was no step() or unscale_() since the last update().")
        xp = namespace_of(self._scale._raw)
        found = flags[0]
        for flag in flags[1:]:
            found = xp.logical_or(found, flag)
        self._scale._raw, self._tracker._raw = xp.rescaled(
            self._scale._raw,
            self._tracker._raw,
            found,
            growth=self._growth_factor,
            backoff=self._backoff_factor,
            interval=self._growth_interval,
        )

    # ----------------------------------------------------------------------------------------------------------- state

    def get_scale(self) -> float:
        """The scale, read from the device; 1 where this scaler is not enabled."""
        return float(self._scale) if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether this scaler does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain numbers under PyTorch's names; {} where this scaler is not enabled.

        >>> import portanet
        >>> sorted(portanet.amp.GradScaler().state_dict())
        ['_growth_tracker', 'backoff_factor', 'growth_factor', 'growth_interval', 'scale']
        """
        if not self._enabled:
            return {}
        refuse_while_recording("GradScaler.state_dict()")
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": int(self._tracker),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, here or in PyTorch.

        Raises ValueError for the empty dict of a scaler that was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise ValueError(
                "GradScaler: the saved state is empty, of a scaler that was not enabled; start with a new one."
            )
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._scale._raw = self._filled(self._scale, float(state_dict["scale"]))
        self._tracker._raw = self._filled(self._tracker, int(state_dict["_growth_tracker"]))

    def __repr__(self) -> str:
        return f"GradScaler(scale={self.get_scale()})" if self._enabled else "GradScaler(enabled=False)"

    # ---------------------------------------------------------------------------------------------------------------------

    def _where(self) -> tuple[Any, Any]:
        raw = self._scale._raw
        return namespace_of(raw), device_of(raw)

    def _on(self, raw: Any) -> Any:
        """The scale where a raw array lies; a compiler has it there."""
        return (
            self._scale._raw if active.get() is not None else move(self._scale._raw, namespace_of(raw), device_of(raw))
        )

    def _filled(self, tensor: Tensor, value: float) -> Any:
        return namespace_of(tensor._raw).full_like(tensor._raw, value)

    def _require_held(self, what: str) -> None:
        recorder = active.get()
        if recorder is not None and not recorder.holds(self._scale):
            raise Refused(f"GradScaler.{what}() is called, whose scaler is not in state=(...)")


def _require(name: str, value: Any, holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"GradScaler: {name}={value}; expected a number {expected}.")


def master_weights(optimizer: O) -> O:
    """Have an optimizer keep a float32 copy of each half-width parameter, and step that: the parameter is it, rounded.

    For a model that is float16 or bfloat16 as a whole: a step of a thousandth of a parameter would be lost in rounding
    otherwise. The state is float32, too; the copy is in it as "master", so that ``state_dict`` carries it along. It is made
    at the first step; where parameters are given other values after that by hand, clear ``optimizer.state``.

    Args:
        optimizer: any but `optim.LBFGS`; perhaps one that has stepped.

    Returns:
        the same optimizer.

    Raises:
        TypeError: this is no optimizer, or one that sees all parameters as one vector.

    >>> import portanet
    >>> from portanet import amp, optim
    >>> w = portanet.ones(1, dtype="float16").requires_grad_()
    >>> optimizer = amp.master_weights(optim.SGD([w], lr=1e-4))
    >>> for _ in range(10):
    ...     w.grad = portanet.ones(1, dtype="float16")
    ...     optimizer.step()
    >>> w, optimizer.state[w]["master"]  # each step alone is less than half of a place in float16
    (tensor([0.999], dtype=float16, requires_grad=True), tensor([0.99899983]))
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"master_weights: expected an optimizer, saw {type(optimizer).__name__}.")
    if type(optimizer)._step is not Optimizer._step or type(optimizer).step is not Optimizer.step:
        raise TypeError(f"master_weights: {type(optimizer).__name__} sees all parameters as one vector; take another.")
    optimizer.masters = True
    optimizer._updates_in_place.clear()
    optimizer.load_state_dict(optimizer.state_dict())  # which brings a state that there is to float32
    return optimizer
