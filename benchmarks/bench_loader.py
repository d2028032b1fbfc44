"""An epoch of a DataLoader over images in host memory, and a small step with each batch, by all ways to the device.

``resident``: copied once and gathered there. ``pinned``: gathered in page-locked memory, and copied while the step
before is computed. ``plain``: each batch copied when it is asked for. ``gathered on the host`` is the floor under the
latter two: nothing travels at all. Run with:

    python -m pytest benchmarks/bench_loader.py --backend-name cupy
"""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import portanet
from portanet import data, nn

WAYS: dict[str, dict[str, Any]] = {
    "resident": {"resident": True},
    "pinned": {"resident": False},
    "plain": {"resident": False, "pin_memory": False},
    "gathered on the host": {"backend": "numpy"},
}
SHAPES = {"MNIST, 128 a batch": (60_000, 784, 128), "64 photographs a batch": (2_048, 3 * 224 * 224, 64)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
def test_epoch(benchmark: Any, way: str, shape: str, request: Any) -> None:
    count, width, size = SHAPES[shape]
    rng = numpy.random.default_rng(0)
    images = rng.random((count, width), dtype=numpy.float32)
    labels = rng.integers(0, 10, count)
    with portanet.use_backend(request.config.getoption("backend_name")):
        loader = data.DataLoader(data.TensorDataset(images, labels), size, shuffle=True, **WAYS[way])
        weight = portanet.zeros((width, 64))

        def epoch() -> float:
            total = portanet.zeros(())
            for x, y in loader:
                if way != "gathered on the host":
                    total = total + nn.functional.cross_entropy(x @ weight, y)
            return total.item()  # waits for all that was computed

        epoch()  # compiles, fills the pools and copies what is to stay
        benchmark.pedantic(epoch, rounds=5)
        benchmark.extra_info.update(batches=len(loader), bytes=images.nbytes + labels.nbytes)
