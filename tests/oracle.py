"""PyTorch as the oracle: some comparisons need the version whose forms portanet has."""

from __future__ import annotations

import importlib.metadata
import importlib.util

import pytest

VERSION = (2, 13)  # what came with it: norms without a bias, LinearCrossEntropyLoss, print-outs that name the bias, ...


def is_newest() -> bool:
    """Whether the PyTorch at hand, if any, is that version or a later one."""
    if importlib.util.find_spec("torch") is None:
        return True
    return tuple(map(int, importlib.metadata.version("torch").split("+")[0].split(".")[:2])) >= VERSION


of_newest = pytest.mark.skipif(not is_newest(), reason=f"PyTorch before {'.'.join(map(str, VERSION))} does otherwise")
