"""The derivative of every operation, as tables: the name of the function -> one VJP per argument.

``g`` is the cotangent of the result, ``y`` the result, then come the arguments as the function got them. A rule is
Array API code, so it runs on raw arrays, and on Tensors when second derivatives are wanted. Write the plain
transpose: no complex conjugation (that is done once, at the door), no undoing of broadcasting (the tape does it).
"""

from __future__ import annotations

from portanet.tape import Rule
from portanet.vjps import (
    attention,
    conv,
    decompositions,
    elementwise,
    indexing,
    layer_norm,
    linalg,
    nn,
    recurrent,
    reductions,
    shapes,
    special,
)
from portanet.vjps import fft as _fft

RULES: dict[str, Rule] = {}

for _family in (
    elementwise,
    reductions,
    shapes,
    linalg,
    decompositions,
    indexing,
    _fft,
    nn,
    conv,
    recurrent,
    attention,
    layer_norm,
    special,
):
    for _name, _vjps in _family.VJPS.items():
        RULES[_name] = Rule(_name, joint=_vjps) if callable(_vjps) else Rule(_name, _vjps)


def rule(name: str) -> Rule:
    """The rule of the function ``name``; one that refuses to be walked where the tables have none."""
    found = RULES.get(name)
    if found is None:
        found = RULES[name] = Rule(name)
    return found
