"""Mixed precision under PyTorch's names: `autocast`, `GradScaler`, and float32 copies of half-width parameters."""

from portanet.autocasting import autocast

__all__ = ["autocast"]
