"""Convolution, pooling and batch normalisation: kernels beside their definitions, layers beside PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from threadpoolctl import threadpool_limits

import portanet as pn
from portanet import nn
from portanet.kernels import generic
from portanet.kernels.generic.convolution import _output
from portanet.kernels.numpy import _thin, _windows, convolution, norm
from portanet.library import namespace_of, to_numpy

F = nn.functional
DRAWS = 12  # of shapes, per kernel and backend


def raw(values: Any, last: bool = False) -> Any:
    """A NumPy array carried to the current backend; ``last``: with its channels last in memory, where it has a say."""
    if last:
        values = numpy.moveaxis(numpy.ascontiguousarray(numpy.moveaxis(values, 1, -1)), -1, 1)
    return pn.asarray(values).array


def definition(name: str, *args: Any, **options: Any) -> Any:
    """What the generic kernel makes of NumPy arrays."""
    return getattr(generic, name)(namespace_of(numpy.ones(1)), *args, **options)


def agree(name: str, backend: Any, args: Any, options: Any, last: bool = False) -> None:
    """The backend's kernel and the definition give the same, and write to nothing that came in."""
    given = [x if x is None else raw(x, last and x.ndim > 2) for x in args]
    found = getattr(backend.library, name)(*given, **options)
    wanted = definition(name, *args, **options)
    several = isinstance(wanted, tuple)
    for mine, theirs in zip(found if several else [found], wanted if several else [wanted], strict=True):
        if theirs is None:
            assert mine is None
            continue
        assert tuple(mine.shape) == theirs.shape
        assert to_numpy(mine).dtype == theirs.dtype
        tolerance = 1e-11 if theirs.dtype.itemsize >= 8 else 1e-5
        numpy.testing.assert_allclose(to_numpy(mine), theirs, rtol=tolerance, atol=tolerance)
    for x, after in zip(args, given, strict=True):
        if x is not None:
            numpy.testing.assert_array_equal(to_numpy(after), x)


class Draw:
    """Random shapes and arguments of a convolution or a pool, from a seed."""

    def __init__(self, seed: int, pool: bool = False) -> None:
        self.rng = rng = numpy.random.default_rng(seed)
        axes = int(rng.integers(1, 4))
        while True:
            self.kernel, self.stride, self.dilation = [self.ints(1, 4, axes) for _ in range(3)]
            self.padding = tuple([self.ints(0, k // 2 + 1 if pool else 5, 2) for k in self.kernel])
            self.size = self.ints(1, 8, axes)
            self.output = _output(self.size, self.kernel, self.stride, self.padding, self.dilation)
            if min(self.output) > 0:
                break
        self.groups = int(rng.choice([1, 1, 1, 2, 3]))
        self.batch, self.into, self.out = int(rng.integers(1, 5)), *self.ints(1, 4, 2)
        self.last = bool(rng.integers(2))

    def ints(self, low: int, high: int, count: int) -> tuple[int, ...]:
        return tuple([int(n) for n in self.rng.integers(low, high, count)])

    def array(self, *shape: int) -> Any:
        return self.rng.normal(size=shape)

    @property
    def how(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}


# ---------------------------------------------------------------------------------------------------------------------
# Kernels.


def convolutions_agree(backend: Any, draw: Draw) -> None:
    x = draw.array(draw.batch, draw.groups * draw.into, *draw.size)
    weight, bias = draw.array(draw.groups * draw.out, draw.into, *draw.kernel), draw.array(draw.groups * draw.out)
    g = draw.array(draw.batch, draw.groups * draw.out, *draw.output)
    agree("conv", backend, (x, weight, bias), draw.how, draw.last)
    agree("conv", backend, (x, weight), draw.how, not draw.last)
    agree("conv_backward_input", backend, (g, weight), draw.how | {"size": draw.size}, draw.last)
    agree("conv_backward_weight", backend, (g, x), draw.how | {"size": draw.kernel}, draw.last)
    for wanted in ((True, True, True), (False, True), (True, False, False), (False, False, True)):
        agree("conv_backward", backend, (g, x, weight), draw.how | {"wanted": wanted}, draw.last)


SAME = ((7, 18, 12, 11), (5, 18, 3, 3), (7, 5, 12, 11))


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(DRAWS))
def test_convolutions_agree_with_their_definition(seed, backend):
    convolutions_agree(backend, Draw(seed))


@pytest.mark.parametrize("block", [1, 300, 3000, 1 << 20])
@pytest.mark.parametrize("portion", [1.0, 1e12])
@pytest.mark.parametrize("short", [0, 1, 1 << 20])  # bytes: which form few channels, and many, are brought into
def test_any_form_and_division_into_blocks_and_threads_gives_the_same(short, block, portion, monkeypatch):
    monkeypatch.setattr(_windows, "BLOCK", block)
    monkeypatch.setattr(_windows, "PORTION", portion)
    monkeypatch.setattr(_windows, "SHORT", short)
    monkeypatch.setattr(convolution, "SHORT", short)
    monkeypatch.setattr(_thin, "SHORT", short)
    monkeypatch.setattr(_thin, "LIGHT", 2 * short)
    with pn.use_backend("numpy") as backend:
        for seed in range(100, 140):
            convolutions_agree(backend, Draw(seed))


def test_as_many_threads_as_there_are_a_convolution_has_the_same_bits(monkeypatch):
    monkeypatch.setattr(_windows, "PORTION", 1e4)
    monkeypatch.setattr(_windows, "BLOCK", 3000)
    x, w, g = [numpy.random.default_rng(i).normal(size=s).astype("float32") for i, s in enumerate(SAME)]
    how = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    found = []
    for count in (1, 2):
        with pn.use_backend("numpy") as backend, threadpool_limits(count, user_api="blas"):
            xp = backend.library
            found.append((xp.conv(x, w, **how), xp.conv_backward_weight(g, x, size=(3, 3), **how)))
    for one, other in zip(*found, strict=True):
        numpy.testing.assert_array_equal(one, other)


def test_many_rows_are_multiplied_in_parts_and_none_is_lost():
    rng = numpy.random.default_rng(0)
    with pn.use_backend("numpy") as backend:
        for images, into, out in ((5, 16, 16), (3, 40, 7), (1, 130, 70)):
            x, w = rng.normal(size=(images, into, 33, 29)), rng.normal(size=(out, into, 3, 3))
            how = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
            agree("conv", backend, (x, w), how)
            agree("conv_backward_weight", backend, (rng.normal(size=(images, out, 33, 29)), x), how | {"size": (3, 3)})


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_convolutions_of_other_dtypes(dtype, backend):
    rng = numpy.random.default_rng(1)
    x, w, g = [rng.normal(size=shape).astype(dtype) for shape in ((2, 3, 6, 5), (4, 3, 3, 2), (2, 4, 4, 4))]
    if dtype.startswith("complex"):
        x, w = x + 1j * x[:, ::-1], w - 1j * w[::-1]
        if backend.name == "dpnp":
            pytest.skip("complex images are not what OpenCL on the CPU is tried on")
    how = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    agree("conv", backend, (x, w), how)
    agree("conv_backward_input", backend, (g, w), how | {"size": (6, 5)})
    agree("conv_backward_weight", backend, (g, x), how | {"size": (3, 2)})
    agree("conv_backward", backend, (g, x, w), how | {"wanted": (True, True, True)})


def test_of_a_convolution_only_what_is_wanted_is_computed(backend, monkeypatch):
    """The first layer of a network does not compute the cotangent of its input; nor a frozen one that of its weight."""
    asked = []
    own = backend.library.conv_backward
    watched = lambda *args, wanted, **how: (asked.append(wanted), own(*args, wanted=wanted, **how))[1]  # noqa: E731
    monkeypatch.setattr(backend.library, "conv_backward", watched)
    x, weight, bias = [pn.asarray(one) for one in arrays([(2, 3, 5, 5), (4, 3, 3, 3), (4,)], 0)]
    for leaves in ((weight,), (weight, bias), (x,)):
        for leaf in leaves:
            leaf.requires_grad_()
        pn.sum(F.conv2d(x, weight, bias)).backward()
        pn.sum(F.conv2d(x, weight)).backward()
        for leaf in (x, weight, bias):
            assert (leaf.grad is not None) == any([leaf is one for one in leaves])
            leaf.requires_grad_(False)
    assert asked == [
        *((False, True, False), (False, True, False)),
        *((False, True, True), (False, True, False)),
        *((True, False, False), (True, False, False)),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_channel_sums_agree_with_their_definition(seed, backend):
    rng = numpy.random.default_rng(seed)
    for shape in ((3, 4), (5, 7, 9), (2, 6, 5, 4), (0, 3, 2), (2, 3, 2, 2, 2)):
        agree("channel_sums", backend, (rng.normal(size=shape),), {}, last=bool(seed % 2))


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(DRAWS))
def test_columns_of_windows_agree_with_their_definition(seed, backend):
    draw = Draw(seed)
    x = draw.array(draw.batch, draw.into, *draw.size)
    how = {"kernel": draw.kernel, "stride": draw.stride, "padding": draw.padding, "dilation": draw.dilation}
    agree("unfold", backend, (x,), how, draw.last)
    columns = draw.array(*definition("unfold", x, **how).shape)
    agree("fold", backend, (columns,), how | {"size": draw.size})


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(DRAWS))
def test_max_pools_agree_with_their_definition(seed, backend):
    draw = Draw(seed, pool=True)
    if seed % 3 == 0:
        draw.stride, draw.dilation = draw.kernel, (1,) * len(draw.kernel)
        draw.size = tuple([n * k for n, k in zip(draw.ints(1, 5, len(draw.kernel)), draw.kernel, strict=True)])
        draw.padding = ((0, 0),) * len(draw.kernel)
    shape = (draw.batch, draw.into, *draw.size)
    for x in (draw.array(*shape), draw.rng.integers(0, 3, shape) * 1.0):  # without equal values, and with many
        how = {"kernel": draw.kernel, "stride": draw.stride, "padding": draw.padding, "dilation": draw.dilation}
        agree("max_pool", backend, (x,), how, draw.last)
        y = definition("max_pool", x, **how)
        agree("max_pool_backward", backend, (draw.array(*y.shape), y, x), how, draw.last)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(DRAWS))
def test_average_pools_agree_with_their_definition(seed, backend):
    draw = Draw(seed, pool=True)
    draw.dilation = (1,) * len(draw.kernel)
    if seed % 3 == 0:
        draw.stride, draw.padding = draw.kernel, ((0, 0),) * len(draw.kernel)
        draw.size = tuple([n * k for n, k in zip(draw.ints(1, 5, len(draw.kernel)), draw.kernel, strict=True)])
    counted = draw.padding if seed % 2 else ((0, 0),) * len(draw.kernel)
    how = {"kernel": draw.kernel, "stride": draw.stride, "padding": draw.padding, "counted": counted}
    how["divisor"] = 5 if seed % 4 == 0 else None
    x = draw.array(draw.batch, draw.into, *draw.size)
    if min(_output(draw.size, draw.kernel, draw.stride, draw.padding, draw.dilation)) < 1:
        pytest.skip("no window fits")
    agree("avg_pool", backend, (x,), how, draw.last)
    g = draw.array(*definition("avg_pool", x, **how).shape)
    agree("avg_pool_backward", backend, (g,), how | {"size": draw.size}, draw.last)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3), (3, 2, 5, 4), (2, 16, 9, 9), (2, 3, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norms_agree_with_their_definition(shape, affine, last, backend):
    rng = numpy.random.default_rng(0)
    x, g = rng.normal(3.0, 2.0, size=shape), rng.normal(size=shape)
    weight, bias = rng.normal(size=(2, shape[1])) if affine else (None, None)
    agree("channel_moments", backend, (x,), {}, last)
    mean, variance = definition("channel_moments", x)
    for own in (True, False):
        moments = (mean, variance) if own else (mean + 1, variance * 2)
        agree("batch_norm", backend, (x, weight, bias, *moments), {"eps": 1e-3, "own": own}, last)
        agree("batch_norm_backward", backend, (g, x, weight, *moments), {"eps": 1e-3, "own": own}, last)


def test_batch_norms_in_many_blocks_give_the_same(monkeypatch):
    monkeypatch.setattr(norm, "BLOCK", 64)
    norm._of_shape.cache_clear()
    rng = numpy.random.default_rng(0)
    with pn.use_backend("numpy") as backend:
        for shape in ((31, 3), (6, 5, 7), (5, 3, 4, 6), (2, 40, 3, 3)):
            x, g = rng.normal(3.0, 2.0, size=shape), rng.normal(size=shape)
            weight, bias = rng.normal(size=(2, shape[1]))
            moments = definition("channel_moments", x)
            for last in (False, True):
                agree("channel_moments", backend, (x,), {}, last)
                agree("batch_norm", backend, (x, weight, bias, *moments), {"eps": 1e-3, "own": True}, last)
                agree("batch_norm_backward", backend, (g, x, weight, *moments), {"eps": 1e-3, "own": True}, last)
    norm._of_shape.cache_clear()


def test_moments_are_exact_where_the_mean_is_large(backend):
    """In float32, a mean of 1000 beside a deviation of 1: the squares of the values themselves would not do."""
    x = numpy.random.default_rng(0).normal(1000.0, 1.0, (64, 8, 7, 7)).astype("float32")
    for last in (False, True):
        mean, variance = backend.library.channel_moments(raw(x, last))
        exact = x.astype("float64")
        numpy.testing.assert_allclose(to_numpy(mean), exact.mean(axis=(0, 2, 3)), rtol=2e-6)
        numpy.testing.assert_allclose(to_numpy(variance), exact.var(axis=(0, 2, 3)), rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kernel", [(1,), (2,), (3,), (1, 1), (2, 2), (3, 3), (1, 4), (2, 1, 2), (2, 2, 2)], ids=str)
def test_windows_side_by_side_give_to_the_first_of_their_largest(kernel, last, dtype, backend):
    """Of all sizes, also where values are left over, rows are long, and infinite values are among the equal."""
    rng = numpy.random.default_rng(0)
    axes = len(kernel)
    how = {"kernel": kernel, "stride": kernel, "padding": ((0, 0),) * axes, "dilation": (1,) * axes}
    for size in (tuple([2 * k for k in kernel]), tuple([2 * k + 1 for k in kernel]), (6,) * (axes - 1) + (301,)):
        x = rng.integers(0, 3, (2, 3, *size)).astype(dtype)
        x[x == 2] = numpy.inf
        agree("max_pool", backend, (x,), how, last)
        y = definition("max_pool", x, **how)
        agree("max_pool_backward", backend, (rng.normal(size=y.shape).astype(dtype), y, x), how, last)


def test_pytorch_compares_small_windows_by_slices(monkeypatch):
    from portanet.kernels import torch_images

    with pn.use_backend("torch") as backend:
        x = raw(numpy.random.default_rng(0).normal(size=(2, 3, 6, 6)))
        how = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0),) * 2, "dilation": (1, 1)}
        monkeypatch.setattr(torch_images, "_aten", None)  # its own function, value by value, is not asked
        monkeypatch.setattr(torch_images.torch, "max_pool2d", None)
        y = backend.library.max_pool(x, **how)
        assert tuple(torch_images._places(x, y, (2, 2)).shape) == (2, 3, 3, 3)


def test_a_nan_in_a_window_passes(backend):
    nan = float("nan")
    x = pn.asarray([[[1.0, nan, 3.0, 2.0, nan, 4.0]]]).requires_grad_()
    y = F.max_pool1d(x, 2)
    numpy.testing.assert_array_equal(y.detach().numpy(), [[[nan, 3.0, nan]]])
    y.backward(pn.ones((1, 1, 3)))
    first, second, *rest, fifth, sixth = x.grad.tolist()[0][0]
    assert first + second == fifth + sixth == 1.0  # which of the two is left open
    assert rest == [1.0, 0.0]


# ---------------------------------------------------------------------------------------------------------------------
# Layers.

torch = pytest.importorskip("torch")

from tests.nn.cases import arrays, case, compared, printed_alike  # noqa: E402

CASES = [
    case("Conv1d", 2, 3, 3, shapes=[(2, 2, 7)]),
    case("Conv1d", 2, 3, 3, shapes=[(2, 7)]),
    case("Conv1d", 2, 4, 3, stride=2, padding=2, dilation=2, groups=2, shapes=[(2, 2, 9)]),
    case("Conv1d", 2, 3, 4, padding="same", shapes=[(2, 2, 7)]),
    case("Conv2d", 3, 4, 3, shapes=[(2, 3, 6, 5)]),
    case("Conv2d", 3, 4, 3, padding=1, bias=False, shapes=[(3, 6, 5)]),
    case("Conv2d", 3, 4, (3, 2), stride=(2, 1), padding=(1, 0), shapes=[(2, 3, 6, 5)]),
    case("Conv2d", 3, 4, 1, stride=2, shapes=[(2, 3, 6, 5)]),
    case("Conv2d", 3, 4, 2, stride=3, shapes=[(2, 3, 8, 9)]),
    case("Conv2d", 3, 4, (2, 5), padding="same", dilation=(3, 1), shapes=[(2, 3, 6, 5)]),
    case("Conv2d", 3, 4, 3, padding="valid", shapes=[(2, 3, 6, 5)]),
    case("Conv2d", 4, 8, 3, groups=4, padding=1, shapes=[(2, 4, 6, 5)]),
    case("Conv2d", 3, 4, 3, shapes=[(0, 3, 6, 5)]),
    case("Conv3d", 2, 3, 2, stride=2, padding=1, shapes=[(2, 2, 4, 3, 5)]),
    case("Conv3d", 2, 3, (1, 3, 2), dilation=(1, 1, 2), shapes=[(2, 4, 3, 5)]),
    case("MaxPool1d", 2, shapes=[(2, 3, 7)]),
    case("MaxPool1d", 3, stride=2, padding=1, ceil_mode=True, shapes=[(3, 8)]),
    case("MaxPool2d", 2, shapes=[(2, 3, 6, 8)]),
    case("MaxPool2d", 2, shapes=[(2, 3, 5, 7)]),
    case("MaxPool2d", (3, 2), stride=(1, 2), padding=1, shapes=[(2, 3, 6, 8)]),
    case("MaxPool2d", 2, stride=1, dilation=2, shapes=[(3, 6, 8)]),
    case("MaxPool2d", 3, stride=3, padding=1, ceil_mode=True, shapes=[(2, 3, 6, 8)]),
    case("MaxPool3d", 2, shapes=[(2, 3, 4, 4, 6)]),
    case("AvgPool1d", 2, shapes=[(2, 3, 7)]),
    case("AvgPool1d", 3, stride=2, padding=1, ceil_mode=True, shapes=[(3, 8)]),
    case("AvgPool2d", 2, shapes=[(2, 3, 6, 8)]),
    case("AvgPool2d", 3, stride=2, padding=1, shapes=[(2, 3, 6, 8)]),
    case("AvgPool2d", 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False, shapes=[(2, 3, 6, 8)]),
    case("AvgPool2d", (3, 2), padding=(1, 0), ceil_mode=True, shapes=[(2, 3, 6, 7)]),
    case("AvgPool2d", 2, divisor_override=3, shapes=[(2, 3, 6, 8)]),
    case("AvgPool3d", (1, 2, 2), count_include_pad=False, shapes=[(3, 4, 4, 6)]),
    case("AdaptiveAvgPool1d", 3, shapes=[(2, 3, 7)]),
    case("AdaptiveAvgPool2d", 1, shapes=[(2, 3, 5, 7)]),
    case("AdaptiveAvgPool2d", (2, None), shapes=[(2, 3, 6, 7)]),
    case("AdaptiveAvgPool2d", (4, 8), shapes=[(3, 5, 6)]),
    case("AdaptiveAvgPool3d", (1, 2, 3), shapes=[(2, 3, 2, 4, 5)]),
    case("BatchNorm2d", 3, shapes=[(2, 3, 4, 5)]),
    case("BatchNorm2d", 3, momentum=None, eps=1e-2, shapes=[(2, 3, 4, 5)]),
    case("BatchNorm2d", 3, affine=False, shapes=[(2, 3, 4, 5)]),
    case("BatchNorm2d", 3, track_running_stats=False, shapes=[(2, 3, 4, 5)]),
    case("BatchNorm3d", 3, momentum=0.3, shapes=[(2, 3, 2, 3, 2)]),
]


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_gradients_and_buffers_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


def test_convolutions_draw_pytorchs_distribution():
    pn.manual_seed(0)
    layer = nn.Conv2d(20, 60, (5, 4), groups=2)
    bound = 1 / (10 * 5 * 4) ** 0.5
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert 0.9 * bound < abs(values).max() <= bound
        assert abs(values.std() - bound / 3**0.5) < 0.15 * bound


def images(*shape: int) -> pn.Tensor:
    return pn.ones(shape)


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "channels": (
        lambda: nn.Conv2d(3, 4, 3)(images(2, 5, 8, 8)),
        ValueError,
        r"Conv2d(in_channels=3): the input has 5 channels (shape (2, 5, 8, 8), read as (N, C, H, W)).",
    ),
    "axes": (lambda: nn.Conv2d(3, 4, 3)(images(8, 8)), ValueError, "(N, C, H, W) or (C, H, W), saw (8, 8)"),
    "no window": (lambda: nn.Conv2d(3, 4, 3)(images(1, 3, 2, 8)), ValueError, "no window of (3, 3) fits"),
    "dtype": (
        lambda: nn.Conv1d(1, 1, 1)(pn.ones((1, 1, 4), dtype=pn.float64)),
        TypeError,
        "Conv1d: the input is float64, the parameters are float32; cast the input with",
    ),
    "bias": (
        lambda: F.conv1d(images(1, 1, 4), images(2, 1, 3), images(3)),
        ValueError,
        "2 channels come out, the bias has shape (3,)",
    ),
    "weight": (lambda: F.conv2d(images(1, 1, 4, 4), images(2, 1, 3)), ValueError, "saw (2, 1, 3)"),
    "groups": (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "groups=2 must be a whole number that divides"),
    "same, strided": (lambda: nn.Conv2d(3, 4, 3, 2, "same"), ValueError, "padding='same' needs stride 1"),
    "a word": (lambda: nn.Conv2d(3, 4, 3, padding="some"), ValueError, "must be 'valid', 'same'"),
    "padding mode": (lambda: nn.Conv2d(3, 4, 3, padding_mode="some"), ValueError, "must be one of zeros, reflect"),
    "stride 0": (lambda: nn.Conv2d(3, 4, 3, stride=0), ValueError, "stride must be at least 1, saw 0"),
    "half a window": (lambda: nn.Conv2d(3, 4, 2.5), TypeError, "kernel_size must be a whole number or 2 of them"),
    "three for two": (lambda: nn.Conv2d(3, 4, (1, 2, 3)), TypeError, "kernel_size must be a whole number or 2"),
    "negative padding": (lambda: nn.Conv2d(3, 4, 3, padding=-1), ValueError, "padding must be at least 0, saw -1"),
    "pool padding": (lambda: nn.MaxPool2d(2, padding=2)(images(1, 4, 4)), ValueError, "at most half of kernel_size=2"),
    "pool dtype": (
        lambda: F.max_pool2d(pn.ones((1, 4, 4), dtype=pn.int64), 2),
        TypeError,
        "MaxPool2d: expected a real floating dtype, saw int64",
    ),
    "pool window": (lambda: nn.AvgPool2d(5)(images(1, 4, 4)), ValueError, "no window of (5, 5) fits into the input's"),
    "divisor": (lambda: F.avg_pool2d(images(1, 4, 4), 2, divisor_override=0), ValueError, "other than 0"),
    "output size": (lambda: F.adaptive_avg_pool2d(images(1, 4, 4), 0), ValueError, "output_size must be at least 1"),
    "output sizes": (lambda: F.adaptive_avg_pool2d(images(1, 4, 4), (1, 2, 3)), TypeError, "output_size must be"),
    "batch norm": (
        lambda: nn.BatchNorm2d(4)(images(2, 4, 3)),
        ValueError,
        "BatchNorm2d(num_features=4): the input must have shape (N, 4, H, W), saw (2, 4, 3).",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_in_words(name):
    wrong, error, words = WRONG[name]
    with pytest.raises(error) as problem:
        wrong()
    assert words in str(problem.value)


def test_the_functions_take_raw_arrays(backend):
    layer, x = nn.Conv2d(2, 3, 3), pn.asarray(arrays([(2, 2, 5, 5)], 0)[0].astype("float32"))
    y = F.conv2d(x.array, layer.weight.array, layer.bias.array)
    assert type(y) is type(x.array)
    numpy.testing.assert_allclose(to_numpy(y), layer(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert type(F.max_pool2d(x.array, 2)) is type(x.array)
    assert type(F.adaptive_avg_pool2d(x.array, 2)) is type(x.array)
    assert isinstance(layer(x.array), pn.Tensor)
