"""How much of PyTorch there is: every public name of its networks is one of ours, or stands here with the reason why not."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pytest

from portanet import nn, optim
from portanet.nn import functional, init, utils
from portanet.optim import lr_scheduler

torch = pytest.importorskip("torch")

IN_PLACE = "edits its argument, and arrays here are not edited"
DEVICES = "spreads work over several processes or devices, which portanet does not do"
PLUMBING = "PyTorch's own plumbing"
NARROW = "products in number formats that the Array API standard lacks"
OLD = "PyTorch's old name for another"

LEFT_OUT = {
    "nn": {
        "Container": OLD,
        "CrossMapLRN2d": "PyTorch's older LocalResponseNorm, with the same numbers",
        "DataParallel": DEVICES,
        "SyncBatchNorm": DEVICES,
    },
    "nn.functional": {
        **dict.fromkeys(
            ["celu_", "elu_", "hardtanh_", "leaky_relu_", "relu_", "rrelu_", "selu_", "threshold_"], IN_PLACE
        ),
        **dict.fromkeys(["grouped_mm", "scaled_grouped_mm", "scaled_mm"], NARROW),
        **dict.fromkeys(
            [
                "assert_int_or_pair", "boolean_dispatch", "handle_torch_function", "has_torch_function",
                "has_torch_function_unary", "has_torch_function_variadic", "native_channel_shuffle",
            ],
            PLUMBING,
        ),
    },
    "nn.init": dict.fromkeys(
        [
            "constant", "dirac", "eye", "kaiming_normal", "kaiming_uniform", "normal", "orthogonal", "sparse",
            "uniform", "xavier_normal", "xavier_uniform",
        ],
        OLD,
    ),
    "optim": {"SparseAdam": "is for gradients that are stored sparsely, which no Array API library has"},
    "optim.lr_scheduler": {},
    "nn.utils": {
        "clip_grad_norm": OLD,
        **dict.fromkeys(["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"], PLUMBING),
        "skip_init": "makes a module without drawing its weights; here a state is loaded over them at no such cost",
    },
}  # fmt: skip


def classes_of(namespace: Any, base: type) -> set[str]:
    """The public subclasses of ``base``."""
    return {
        name
        for name, value in vars(namespace).items()
        if inspect.isclass(value) and issubclass(value, base) and not name.startswith("_")
    }


def functions_of(namespace: ModuleType) -> set[str]:
    """The public functions that are at home there, or built in."""
    return {
        name
        for name, value in vars(namespace).items()
        if callable(value)
        and not inspect.isclass(value)
        and not name.startswith("_")
        and (getattr(value, "__module__", None) or "torch").startswith("torch")
    }


THEIRS = {
    "nn": (nn, lambda: classes_of(torch.nn, torch.nn.Module)),
    "nn.functional": (functional, lambda: functions_of(torch.nn.functional)),
    "nn.init": (init, lambda: functions_of(torch.nn.init)),
    "nn.utils": (utils, lambda: functions_of(torch.nn.utils)),
    "optim": (optim, lambda: classes_of(torch.optim, torch.optim.Optimizer)),
    "optim.lr_scheduler": (
        lr_scheduler,
        lambda: classes_of(torch.optim.lr_scheduler, torch.optim.lr_scheduler.LRScheduler),
    ),
}


@pytest.mark.parametrize("where", list(THEIRS))
def test_every_name_of_pytorchs_is_there_or_left_out_for_a_reason(where):
    ours, listed = THEIRS[where]
    theirs = listed()
    missing = sorted({name for name in theirs if not hasattr(ours, name)} - set(LEFT_OUT[where]))
    print(f"{where}: {len(theirs) - len(LEFT_OUT[where]) - len(missing)} of {len(theirs)}")
    assert not missing, f"{len(missing)} of {len(theirs)} names of torch.{where} are missing: {', '.join(missing)}"


@pytest.mark.parametrize("where", list(THEIRS))
def test_what_is_left_out_is_neither_here_nor_unknown(where):
    ours, listed = THEIRS[where]
    theirs = listed()
    assert [name for name in LEFT_OUT[where] if hasattr(ours, name) or name not in theirs] == []
