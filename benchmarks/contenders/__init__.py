"""All contenders by their names, in the order of the report."""

from __future__ import annotations

from benchmarks.contenders import by_hand_networks
from benchmarks.contenders.base import Contender, LeftOut, NotMine, Step
from benchmarks.contenders.by_hand import BY_HAND
from benchmarks.contenders.floor import FLOOR
from benchmarks.contenders.hips import HIPS
from benchmarks.contenders.ours import OURS
from benchmarks.contenders.plain_jax import JAX
from benchmarks.contenders.pytorch import TORCH, TORCH_COMPILE, TORCH_FOREACH, TORCH_FUSED
from benchmarks.contenders.sklearn_mlp import SKLEARN

__all__ = ["ALL", "Contender", "LeftOut", "NotMine", "Step", "chosen"]

BY_HAND.builders.update(by_hand_networks.BUILDERS)
_ALL = [FLOOR, BY_HAND, TORCH, TORCH_FUSED, TORCH_FOREACH, TORCH_COMPILE, JAX, SKLEARN, HIPS, *OURS]
ALL: dict[str, Contender] = {contender.name: contender for contender in _ALL}


def chosen(names: list[str]) -> list[Contender]:
    """The contenders of these names; without a name all that usually run."""
    strange = [name for name in names if name not in ALL]
    if strange:
        raise ValueError(f"no contender is called {', '.join(strange)}; there are {', '.join(ALL)}")
    return [one for name, one in ALL.items() if (name in names if names else one.usual)]
