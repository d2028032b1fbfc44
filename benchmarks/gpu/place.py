"""Where a run takes place: an NVIDIA GPU; or, to try everything out, a processor on which nothing is as fast as one."""

from __future__ import annotations

import gc
import importlib.util
import platform
import re
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """The backend of portanet, and the device of all others: "cuda", or "cpu" where a GPU is pretended."""

    backend: str = "cupy"
    device: str = "cuda"

    @classmethod
    def of(cls, pretended: str | None) -> Place:
        """The GPU; or the processor, with portanet on the backend that is pretended to be one."""
        return cls(pretended, "cpu") if pretended else cls()

    @property
    def real(self) -> bool:
        return self.device == "cuda"

    def unavailable(self) -> str | None:
        """Why portanet cannot compute here, in the words of `portanet.available_backends`; None where it can.

        Only the one backend is asked: JAX, asked for its devices, would take most of the GPU's memory and keep it.
        """
        import portanet

        try:
            with portanet.use_backend(self.backend):
                return None
        except (ImportError, RuntimeError) as problem:
            return str(problem)

    def environment(self) -> dict[str, str]:
        """What a process that measures is to find in its environment: JAX takes memory as it needs it, as all others."""
        found = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        return found if self.real else found | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}

    # --------------------------------------------------------------------------------------------------- while it runs

    def wait(self) -> None:
        """Until everything that was started on the GPU has ended, whoever started it."""
        if self.real:
            _runtime().deviceSynchronize()

    def forget(self) -> None:
        """Give back memory, and what JAX has compiled."""
        if "jax" in sys.modules:
            sys.modules["jax"].clear_caches()
        gc.collect()
        self.free()

    def free(self) -> None:
        """Give back what the libraries keep of memory that nobody uses: each has an allocator of its own."""
        if self.real and "torch" in sys.modules:
            sys.modules["torch"].cuda.empty_cache()
        if self.real and "cupy" in sys.modules:
            sys.modules["cupy"].get_default_memory_pool().free_all_blocks()

    def allow_tf32(self, allowed: bool, contender: str) -> None:
        """Let the products of a contender's library round their factors to TF32, or forbid it."""
        if contender.startswith("jax"):
            import jax

            jax.config.update("jax_default_matmul_precision", "tensorfloat32" if allowed else "highest")
        elif "torch" in contender or not contender.startswith("portanet"):
            if importlib.util.find_spec("torch") is None:
                return
            import torch

            torch.backends.cuda.matmul.allow_tf32 = allowed
            torch.backends.cudnn.allow_tf32 = allowed
        else:
            import portanet

            portanet.set_float32_matmul_precision("high" if allowed else "highest")

    # ---------------------------------------------------------------------------------------------------- what it is

    def card(self) -> str:
        """The name of the GPU."""
        if not self.real:
            return f"no GPU, portanet on {self.backend} instead"
        return _runtime().getDeviceProperties(0)["name"].decode()

    def slug(self) -> str:
        """The name of the GPU for file names: ``nvidia-h100-80gb-hbm3``."""
        return re.sub(r"[^a-z0-9]+", "-", self.card().lower()).strip("-")

    def facts(self) -> dict[str, str]:
        """The GPU, its driver and the CUDA runtime. PyTorch says by its version which one it has, and is slow to import."""
        if not self.real:
            return {"GPU": self.card()}
        runtime = _runtime()
        size = runtime.getDeviceProperties(0)["totalGlobalMem"] / 2**30
        found = {"GPU": f"{self.card()}, {size:.1f} GiB"}
        found["driver"] = f"{_driver()}, for CUDA up to {_version(runtime.driverGetVersion())}"
        found["CUDA runtime of CuPy"] = _version(runtime.runtimeGetVersion())
        return found


def _runtime():
    import cupy

    return cupy.cuda.runtime


def _version(number: int) -> str:
    """13020 is CUDA 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _driver() -> str:
    """The driver's own version, which its library does not tell."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return f"unknown on {platform.system()}"
