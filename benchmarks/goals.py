"""The figures to reach, as data: which workload, who against whom, at most how many times as long (or at least as fast)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.timing import Pair


@dataclass(frozen=True)
class Goal:
    """A bound on the ratio of the subject's time (or memory) to another's: one of ``at_most`` and ``at_least`` is set.

    Attributes:
        at_most: how many times the other's time the subject may take.
        at_least: how many times as fast as the other the subject must be.
    """

    workload: str
    against: str
    at_most: float | None = None
    at_least: float | None = None
    subject: str = "portanet-numpy"

    def bound(self) -> str:
        """The goal as the tables say it."""
        if self.at_most is not None:
            return f"at most {self.at_most:g} x"
        return f"at least {self.at_least:g} x as fast"

    def figure(self, ratio: float) -> str:
        """A measured ratio of times, said as the goal is said."""
        return f"{ratio:.2f} x" if self.at_most is not None else f"{1 / ratio:.2f} x as fast"

    def met(self, ratio: float) -> bool:
        """Whether a measured ratio of times keeps to the bound."""
        if self.at_most is not None:
            return ratio <= self.at_most
        return 1 / ratio >= self.at_least

    def of(self, pairs: Iterable[Pair]) -> list[Pair]:
        """The measurements that the goal speaks of, one for each number of threads."""
        mine = (self.workload, self.subject, self.against)
        return [one for one in pairs if (one.workload, one.subject, one.against) == mine]


MLP_S, MLP_M, MLP_L, MLP_XL = "MLP 64-32-10", "MLP 784-128-10", "MLP 784-512-512-10", "MLP 784-2048-2048-10"
DEEP = ("LeNet", "ResNet-8", "LSTM", "transformer")
COMPILED, TORCH, JIT = "portanet-compile", "portanet-torch", "portanet-jax-jit"

GOALS = [
    Goal(MLP_S, "numpy", at_most=1.5),
    Goal(MLP_S, "torch", at_least=4),
    Goal(MLP_S, "sklearn", at_least=15),
    Goal(MLP_M, "numpy", at_most=1.15),
    Goal(MLP_M, "torch", at_least=1.7),
    Goal(MLP_M, "jax", at_least=1.4),
    Goal(MLP_L, "numpy", at_most=1.08),
    Goal(MLP_L, "torch", at_least=1.1),
    Goal(f"{MLP_L} Adam", "torch", at_least=1.2),
    Goal(MLP_XL, "numpy", at_most=1.05),
    Goal(MLP_XL, "torch", at_least=1),
    Goal("LeNet", "torch", at_least=0.8),
    Goal("ResNet-8", "torch", at_least=0.8),
    Goal("LSTM", "torch", at_least=1),
    Goal("transformer", "torch", at_least=1),
    Goal("Adam on 10 M parameters", "torch-fused", at_least=0.8),
    *[Goal(name, "jax", at_most=1.1, subject=JIT) for name in (MLP_S, MLP_M, MLP_L, MLP_XL, "transformer")],
    *[Goal(name, "torch", at_least=0.8, subject=TORCH) for name in (MLP_S, MLP_M, MLP_L, MLP_XL)],
    *[Goal(name, "torch", at_least=0.8, subject=TORCH) for name in DEEP],
    Goal("100 recorded adds on 4x4", "numpy", at_most=3),
    *[Goal(f"peak memory of {name}", "numpy", at_most=1.3) for name in (MLP_S, MLP_M, MLP_L, f"{MLP_L} Adam", MLP_XL)],
    Goal(MLP_S, "numpy", at_most=0.8, subject=COMPILED),
    Goal(MLP_S, "jax", at_least=2, subject=COMPILED),
    Goal(MLP_M, "numpy", at_most=1.05, subject=COMPILED),
    *[Goal(name, "portanet-numpy", at_most=1, subject=COMPILED) for name in (MLP_S, MLP_M, MLP_L, MLP_XL, *DEEP)],
]

# ------------------------------------------------------------------------------------------------------------ on a GPU

EAGER, REPLAYED = "portanet-cupy", "portanet-compile-cupy"
RESNET, TRANSFORMER, WIDE = "ResNet-18", "transformer 6 x 512", "MLP 8 x 4096"

GPU_GOALS = [
    *[
        goal
        for name in (MLP_L, f"{MLP_L} Adam")
        for goal in (
            Goal(name, "torch-cuda", at_least=1, subject=EAGER),
            Goal(name, "torch-cuda-graph", at_most=1.1, subject=REPLAYED),
            Goal(name, "jax-cuda", at_most=1.1, subject=REPLAYED),
            Goal(name, "torch-cuda", at_least=3, subject=REPLAYED),
        )
    ],
    *[Goal(WIDE, "gemm", at_least=0.95, subject=who) for who in (EAGER, REPLAYED)],
    Goal("LeNet", "torch-cuda", at_least=0.8, subject=EAGER),
    Goal(RESNET, "torch-cuda", at_least=0.8, subject=EAGER),
    Goal(TRANSFORMER, "torch-cuda", at_least=0.9, subject=EAGER),
    Goal(TRANSFORMER, "torch-cuda", at_least=1, subject=REPLAYED),
    Goal("Adam on 100 M parameters", "copy", at_least=0.9, subject=EAGER),
    *[
        Goal(f"{name}{part}", "copy", at_least=0.8, subject=EAGER)
        for name in ("cross entropy", "layer norm", "GELU", "dropout")
        for part in ("", ", forward")
    ],
    *[Goal(f"{WIDE}, TF32", "gemm", at_least=0.95, subject=who) for who in (EAGER, REPLAYED)],
    Goal(f"{RESNET}, TF32", "torch-cuda", at_least=0.8, subject=EAGER),
    Goal(f"{TRANSFORMER}, TF32", "torch-cuda", at_least=0.9, subject=EAGER),
    Goal(f"{TRANSFORMER}, TF32", "torch-cuda", at_least=1, subject=REPLAYED),
]

STEEPEST = 1.5  # the exponent from which growth counts as more than linear: 2 is a quadratic, 1.1 a cache's edge
