"""Kernels for JAX arrays, which cannot be written to in place."""

from __future__ import annotations

from typing import Any

import jax


def device_of(x: Any) -> Any:
    # An array that jax.jit is tracing has no device yet.
    return None if isinstance(x, jax.core.Tracer) else x.device


def set_at(x: Any, values: Any, *, key: Any) -> Any:
    return x.at[key].set(values)


def add_at(x: Any, updates: Any, *, key: Any) -> Any:
    return x.at[key].add(updates)


def scatter_add(x: Any, indices: Any, updates: Any) -> Any:
    return x.at[indices].add(updates)
