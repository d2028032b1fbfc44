"""Tables of vectors, bags of them, and one-hot numbers: beside PyTorch's, and to the last bit where it is promised."""

from __future__ import annotations

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from tests.nn.cases import (
    arrays,
    assert_close,
    case,
    compared,
    compared_in_float32,
    compared_step,
    printed_alike,
    proved,
)

torch = pytest.importorskip("torch")

IDS = numpy.asarray([[2, 0, 2], [1, 2, 4]])
FLAT = numpy.asarray([2, 0, 2, 1, 2, 4, 0])
OFFSETS = numpy.asarray([0, 2, 2, 3])  # the second bag is empty
ENDED = numpy.asarray([0, 2, 2, 3, 7])
EMPTY = numpy.zeros((0,), dtype="int64")

TABLES = [
    case("Embedding", 5, 3, shapes=[IDS]),
    case("Embedding", 5, 3, scale_grad_by_freq=True, shapes=[IDS]),
    case("Embedding", 5, 3, 2, scale_grad_by_freq=True, shapes=[FLAT]),
    case("Embedding", 5, 3, max_norm=1.0, scale_grad_by_freq=True, shapes=[IDS]),
    case("Embedding", 5, 3, padding_idx=-1, max_norm=1.0, norm_type=float("inf"), shapes=[IDS]),
    case("Embedding", 5, 1, None, 0.5, 3.0, shapes=[IDS]),
    case("Embedding", 5, 3, scale_grad_by_freq=True, shapes=[EMPTY]),
]
BAGS = [
    case("EmbeddingBag", 5, 3, shapes=[IDS]),
    case("EmbeddingBag", 5, 3, shapes=[FLAT, OFFSETS]),
    case("EmbeddingBag", 5, 3, shapes=[FLAT.astype("int32"), OFFSETS.astype("int32")]),
    case("EmbeddingBag", 5, 3, 1.0, 1.5, shapes=[FLAT, OFFSETS]),
    case("EmbeddingBag", 5, 3, mode="sum", shapes=[IDS]),
    case("EmbeddingBag", 5, 3, mode="sum", shapes=[FLAT, OFFSETS]),
    case("EmbeddingBag", 5, 3, mode="max", shapes=[IDS]),
    case("EmbeddingBag", 5, 3, mode="max", shapes=[FLAT, OFFSETS]),
    case("EmbeddingBag", 5, 1, mode="max", shapes=[FLAT, numpy.asarray([0])]),
    case("EmbeddingBag", 5, 3, include_last_offset=True, shapes=[FLAT, ENDED]),
    case("EmbeddingBag", 5, 3, mode="max", include_last_offset=True, shapes=[FLAT, ENDED]),
    case("EmbeddingBag", 5, 3, padding_idx=2, shapes=[FLAT, OFFSETS]),
    case("EmbeddingBag", 5, 3, padding_idx=-3, mode="sum", shapes=[IDS]),
    case("EmbeddingBag", 5, 3, padding_idx=2, mode="max", shapes=[FLAT, OFFSETS]),
    case("EmbeddingBag", 5, 3, padding_idx=2, mode="max", shapes=[IDS]),
    case("EmbeddingBag", 5, 3, mode="sum", shapes=[EMPTY, numpy.asarray([0, 0])]),
    case("EmbeddingBag", 5, 3, mode="mean", shapes=[EMPTY, numpy.asarray([0, 0])]),
    case("EmbeddingBag", 5, 3, mode="sum", shapes=[FLAT[:1], numpy.asarray([0])]),
]
CASES = [*TABLES, *BAGS]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_gradients_are_pytorchs(case, backend):
    compared(case)


BY_FREQUENCY = case("EmbeddingBag", 5, 3, None, 2.0, True, shapes=[IDS])


@pytest.mark.parametrize("case", [*CASES, BY_FREQUENCY], ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


SMOOTH = [
    case("Embedding", 5, 3, shapes=[IDS]),
    case("EmbeddingBag", 5, 3, shapes=[FLAT, OFFSETS]),
    case("EmbeddingBag", 5, 3, mode="max", shapes=[FLAT, OFFSETS]),
    case("EmbeddingBag", 5, 3, mode="max", padding_idx=0, shapes=[IDS]),
    case("EmbeddingBag", 5, 3, mode="sum", shapes=[FLAT, OFFSETS, (7,)]),
]


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    if len(case.inputs) < 3 and order == 2:
        # A look-up is linear in the table, so a square of it is what has a second derivative.
        ids = [pn.asarray(v) for v in case.inputs]
        how = {name: value for name, value in case.options.items() if name != "padding_idx"}
        function = F.embedding if case.name == "Embedding" else F.embedding_bag
        table = pn.asarray(arrays([(5, 3)])[0])
        report = pn.testing.check_gradient(
            lambda w: function(ids[0], w * w, *ids[1:], **how), table, order=2, verbose=False
        )
        assert report.order > 1.8
    else:
        proved(case, order)


@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("shape", ["flat", "rows"])
def test_per_sample_weights_are_pytorchs(shape, padding, backend):
    one = case("EmbeddingBag", 5, 3, mode="sum", padding_idx=padding, shapes=[()])
    ours, theirs = one.ours(), one.theirs()
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    ids, offsets = (FLAT, OFFSETS) if shape == "flat" else (IDS, None)
    factors = arrays([ids.shape])[0]
    x, t = pn.asarray(factors).requires_grad_(), torch.from_numpy(factors).requires_grad_()
    y = ours(pn.asarray(ids), None if offsets is None else pn.asarray(offsets), x)
    u = theirs(torch.from_numpy(ids), None if offsets is None else torch.from_numpy(offsets), t)
    assert_close(y, u)
    g = arrays([tuple(u.shape)], seed=3)[0]
    y.backward(pn.asarray(g))
    u.backward(torch.from_numpy(g))
    assert_close(x.grad, t.grad)
    assert_close(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_gradients_of_bags_by_frequency_are_those_of_the_rows(mode, backend):
    # PyTorch's bags divide by the counts of other rows on the CPU; its look-up, whose rows are then added, does not.
    weight, table = arrays([(5, 3)])[0], nn.EmbeddingBag(5, 3, scale_grad_by_freq=True, mode=mode).to(pn.float64)
    table.load_state_dict({"weight": weight})
    theirs = torch.from_numpy(weight).requires_grad_()
    rows = torch.nn.functional.embedding(torch.from_numpy(IDS), theirs, scale_grad_by_freq=True)
    g = arrays([(2, 3)], seed=3)[0]
    getattr(rows, mode)(1).backward(torch.from_numpy(g))
    for arguments in ((IDS,), (IDS.reshape(-1), numpy.asarray([0, 3]))):
        table.zero_grad()
        table(*[pn.asarray(v) for v in arguments]).backward(pn.asarray(g))
        assert_close(table.weight.grad, theirs.grad)


def test_of_equal_largest_numbers_the_first_gets_the_gradient(backend):
    # In the order of the bag: row 2 comes before row 0, which is equal to it.
    table = pn.asarray([[1.0, 5.0], [0.0, 7.0], [1.0, 5.0]])
    for ids, offsets in (([2, 0, 1, 1], [0, 3]), ([[2, 0, 1], [1, 1, 1]], None)):
        weight = nn.Parameter(table)
        bags = None if offsets is None else pn.asarray(offsets)
        y = F.embedding_bag(pn.asarray(ids), weight, bags, mode="max")
        assert y.tolist() == [[1.0, 7.0], [0.0, 7.0]]
        pn.sum(y).backward()
        assert weight.grad.tolist() == [[0.0, 0.0], [1.0, 2.0], [1.0, 0.0]]


def test_a_bag_that_holds_padding_alone_is_0(backend):
    table = pn.asarray([[1.0], [-2.0]])
    ids = pn.asarray([[0, 0], [0, 1]])
    for mode, second in (("sum", -2.0), ("mean", -2.0), ("max", -2.0)):
        assert F.embedding_bag(ids, table, mode=mode, padding_idx=0).tolist() == [[0.0], [second]]
        flat = F.embedding_bag(pn.reshape(ids, (-1,)), table, pn.asarray([0, 2, 4]), mode=mode, padding_idx=-2)
        assert flat.tolist() == [[0.0], [second], [0.0]]


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_bag_of_nan_is_nan_and_no_other(mode, backend):
    table = pn.asarray([[1.0], [float("nan")], [3.0]])
    for ids in ([0, 1, 2, 0, 2], [1, 0, 2, 0, 2], [0, 2, 1, 0, 2]):
        y = F.embedding_bag(pn.asarray(ids), table, pn.asarray([0, 3]), mode=mode).numpy()
        assert numpy.isnan(y[0, 0])
        assert y[1, 0] == {"sum": 4.0, "mean": 2.0, "max": 3.0}[mode]


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_many_bags_of_many_sizes_are_pytorchs(mode, backend):
    rng = numpy.random.default_rng(3)
    sizes = rng.integers(0, 9, 30)
    offsets = numpy.concatenate([[0], numpy.cumsum(sizes)[:-1]])
    ids = rng.integers(0, 11, sizes.sum())
    one = case("EmbeddingBag", 11, 4, mode=mode, shapes=[ids, offsets])
    ours, theirs = one.ours(), one.theirs()
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    compared_step(ours, theirs, [ids, offsets])


@pytest.mark.heavy
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_a_compiled_bag_is_the_bag(mode, backend):
    table = pn.asarray(arrays([(5, 3)])[0])

    def bags(ids, offsets):
        return F.embedding_bag(ids, table, offsets, mode=mode, padding_idx=1)

    compiled = pn.compile(bags, state=())
    for ids, offsets in ((FLAT, OFFSETS), (FLAT[::-1].copy(), OFFSETS + [0, 1, 2, 3]), (FLAT, OFFSETS)):
        ids, offsets = pn.asarray(ids), pn.asarray(offsets)
        numpy.testing.assert_allclose(compiled(ids, offsets).numpy(), bags(ids, offsets).numpy(), rtol=1e-9)


# ------------------------------------------------------------------------------------------ the order of the additions


def gradient_of(ids, dtype, seed=0, **how):
    weight = nn.Parameter(pn.asarray(numpy.zeros((7, 3), dtype=dtype)))
    y = F.embedding(pn.asarray(ids), weight, **how)
    y.backward(pn.asarray(numpy.random.default_rng(seed).normal(size=(*ids.shape, 3)).astype(dtype)))
    return weight.grad.numpy()


@pytest.mark.parametrize("by_frequency", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_repeated_rows_add_up_to_the_same_bits_in_each_run(dtype, by_frequency, backend):
    ids = numpy.random.default_rng(1).integers(0, 7, (40, 10))
    first = gradient_of(ids, dtype, scale_grad_by_freq=by_frequency)
    for _ in range(5):
        numpy.testing.assert_array_equal(gradient_of(ids, dtype, scale_grad_by_freq=by_frequency), first)
    with pn.use_backend("numpy"):  # other libraries may add up in another order
        expected = gradient_of(ids, dtype, scale_grad_by_freq=by_frequency)
    near = 1e-4 if dtype == "float32" else 1e-12
    numpy.testing.assert_allclose(first, expected, rtol=near, atol=near)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_are_named_twice_have_the_same_bits_on_every_backend(dtype, backend):
    ids = numpy.asarray([[3, 0, 6, 3], [5, 6, 1, 0]])
    with pn.use_backend("numpy"):
        expected = gradient_of(ids, dtype)
    numpy.testing.assert_array_equal(gradient_of(ids, dtype), expected)


# ------------------------------------------------------------------------------------------------------------ one_hot


@pytest.mark.parametrize("shape", [(2, 3), (), (4, 1)], ids=str)
@pytest.mark.parametrize("classes", [-1, 5, 7])
def test_one_hot_is_pytorchs(shape, classes, backend):
    ids = numpy.asarray(numpy.random.default_rng(0).integers(0, 5, shape))
    y, u = F.one_hot(pn.asarray(ids), classes), torch.nn.functional.one_hot(torch.from_numpy(ids), classes)
    numpy.testing.assert_array_equal(y.numpy(), u.numpy())
    assert str(y.dtype) == "int64"
    narrow = F.one_hot(pn.asarray(ids.astype("uint8")), classes)
    numpy.testing.assert_array_equal(narrow.numpy(), u.numpy())
    raw = F.one_hot(pn.asarray(ids).array, classes)
    assert type(raw) is type(pn.asarray([1]).array)
    assert pn.Tensor(raw).device == y.device


def test_one_hot_of_nothing_needs_to_be_told(backend):
    nothing = pn.asarray(numpy.zeros((0, 2), dtype="int64"))
    assert F.one_hot(nothing, 3).shape == (0, 2, 3)
    with pytest.raises(ValueError, match=r"one_hot: an input of shape \(0, 2\) does not tell num_classes"):
        F.one_hot(nothing)


@pytest.mark.parametrize("index", [3, -1])
def test_one_hot_never_shows_a_class_that_is_not_there(index, backend):
    try:
        y = F.one_hot(pn.asarray([0, index]), 3)
    except ValueError as problem:
        assert "with num_classes=3 it must lie in 0 to 2" in str(problem)
    else:  # where looking would make a device wait
        assert y.tolist() == [[1, 0, 0], [0, 0, 0]]


def test_one_hot_refuses_what_is_no_class():
    with pytest.raises(TypeError, match="one_hot: the input must be integers, saw float32"):
        F.one_hot(pn.ones(2))
    with pytest.raises(ValueError, match="one_hot: num_classes=-2; expected the number of classes, or -1"):
        F.one_hot(pn.asarray([1]), -2)


# ----------------------------------------------------------------------------------------------------------- refusals


def test_numbers_by_hand(backend):
    table = pn.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]])
    ids, offsets = pn.asarray([0, 1, 2, 2]), pn.asarray([0, 2, 2])
    assert F.embedding_bag(ids, table, offsets).tolist() == [[2.0, 3.0], [0.0, 0.0], [5.0, 0.0]]  # the mean
    assert F.embedding_bag(ids, table, offsets, mode="sum").tolist() == [[4.0, 6.0], [0.0, 0.0], [10.0, 0.0]]
    assert F.embedding_bag(ids, table, offsets, mode="max").tolist() == [[3.0, 4.0], [0.0, 0.0], [5.0, 0.0]]
    weight = nn.Parameter(table)
    pn.sum(F.embedding(pn.asarray([2, 2, 0, 2]), weight, scale_grad_by_freq=True)).backward()
    numpy.testing.assert_allclose(weight.grad.numpy(), [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]], rtol=1e-6)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_raw_arrays_stay_raw(mode, backend):
    table, ids, offsets = pn.asarray(arrays([(5, 3)])[0].astype("float32")), pn.asarray(FLAT), pn.asarray(OFFSETS)
    y = F.embedding_bag(ids.array, table.array, offsets.array, mode=mode)
    assert type(y) is type(table.array)
    numpy.testing.assert_array_equal(pn.Tensor(y).numpy(), F.embedding_bag(ids, table, offsets, mode=mode).numpy())
    mixed = F.embedding_bag(ids.array, table, offsets.array, mode=mode)
    numpy.testing.assert_array_equal(mixed.numpy(), pn.Tensor(y).numpy())


def test_bags_from_a_table(backend):
    table = pn.asarray([[1.0, 2.0], [3.0, 4.0]])
    layer = nn.EmbeddingBag.from_pretrained(table, mode="max", padding_idx=0)
    assert not layer.weight.requires_grad
    assert layer(pn.asarray([[0, 1]])).tolist() == [[3.0, 4.0]]
    assert layer.weight.tolist() == table.tolist()  # the row of the padding stays what it was
    assert repr(layer) == "EmbeddingBag(2, 2, mode='max', padding_idx=0)"
    assert nn.EmbeddingBag.from_pretrained(table, freeze=False).weight.requires_grad
    before = pn.random.get_state()
    whole = nn.Embedding.from_pretrained(table, scale_grad_by_freq=True)
    assert repr(whole) == "Embedding(2, 2, scale_grad_by_freq=True)"
    assert pn.random.get_state() == before  # nothing is drawn
    rows = nn.EmbeddingBag(3, 2, padding_idx=1).weight.detach().numpy()
    assert (rows[1] == 0).all()
    assert (rows[[0, 2]] != 0).all()


def test_bags_that_do_not_fit_are_refused(backend):
    layer = nn.EmbeddingBag(5, 3)
    ids, offsets = pn.asarray(FLAT), pn.asarray(OFFSETS)
    refused = [
        (ValueError, r"an input of shape \(7,\) needs offsets \(B,\).*saw none", (ids,)),
        (ValueError, r"needs offsets \(B,\).*saw shape \(1, 4\)", (ids, pn.reshape(offsets, (1, 4)))),
        (ValueError, r"offsets are for an input \(M,\); one of shape \(2, 3\)", (pn.asarray(IDS), offsets)),
        (ValueError, r"expected indices \(B, N\) or \(M,\), saw shape \(\)", (pn.asarray(1),)),
        (ValueError, "there are no offsets, but 7 indices", (ids, pn.asarray(EMPTY))),
        (TypeError, "indices must be integers, saw float32", (pn.ones((2, 3)),)),
        (TypeError, "offsets must be integers, saw float32", (ids, pn.zeros(1))),
        (ValueError, "per_sample_weights go with mode='sum' alone, not with 'mean'", (ids, offsets, pn.ones(7))),
    ]
    for error, words, arguments in refused:
        with pytest.raises(error, match=f"embedding_bag: .*{words}"):
            layer(*arguments)
    summing = nn.EmbeddingBag(5, 3, mode="sum")
    with pytest.raises(ValueError, match=r"per_sample_weights have shape \(6,\), expected that of the input, \(7,\)"):
        summing(ids, offsets, pn.ones(6))
    with pytest.raises(TypeError, match="the per_sample_weights is float64, the input float32"):
        summing(ids, offsets, pn.ones(7, dtype=pn.float64))


def test_offsets_that_make_no_sense_are_refused_where_they_can_be_seen():
    layer, ids = nn.EmbeddingBag(5, 3), pn.asarray(FLAT)
    for offsets in ([1, 2], [0, 3, 2]):
        with pytest.raises(ValueError, match="the offsets must begin with 0 and never fall"):
            layer(ids, pn.asarray(offsets))
    with pytest.raises(ValueError, match="the last offset is 8, but there are 7 indices"):
        layer(ids, pn.asarray([0, 4, 8]))
    with pytest.raises(ValueError, match="the last offset must be the number of indices, 7; saw 4"):
        nn.EmbeddingBag(5, 3, include_last_offset=True)(ids, pn.asarray([0, 4]))
    with pytest.raises(IndexError, match="there are 5 rows"):
        layer(pn.asarray([[5]]))


def test_tables_that_make_no_sense_are_refused():
    for name in ("Embedding", "EmbeddingBag"):
        with pytest.raises(ValueError, match=f"^{name}: sparse=True is not possible"):
            getattr(nn, name)(5, 3, sparse=True)
        with pytest.raises(ValueError, match=f"^{name}: padding_idx=-6, but there are 5 rows"):
            getattr(nn, name)(5, 3, padding_idx=-6)
        with pytest.raises(ValueError, match=rf"^{name}: the table has shape \(2, 2\), expected \(5, 3\)"):
            getattr(nn, name)(5, 3, _weight=pn.ones((2, 2)))
        with pytest.raises(ValueError, match=rf"^{name}.from_pretrained: .* saw shape \(3,\)"):
            getattr(nn, name).from_pretrained(pn.ones(3))
    with pytest.raises(ValueError, match="EmbeddingBag: mode='min'; expected one of sum, mean, max"):
        nn.EmbeddingBag(5, 3, mode="min")
    with pytest.raises(ValueError, match="EmbeddingBag: scale_grad_by_freq=True has no meaning with mode='max'"):
        nn.EmbeddingBag(5, 3, mode="max", scale_grad_by_freq=True)
    ids, table = pn.asarray([[1]]), pn.ones((5, 3))
    for function in (F.embedding, F.embedding_bag):
        name = function.__name__
        with pytest.raises(ValueError, match=f"^{name}: sparse=True is not possible"):
            function(ids, table, sparse=True)
        with pytest.raises(ValueError, match=f"^{name}: padding_idx=5, but there are 5 rows"):
            function(ids, table, padding_idx=5)
        with pytest.raises(ValueError, match=rf"^{name}: the weight must have shape .* saw \(5,\)"):
            function(ids, pn.ones(5))
        with pytest.raises(TypeError, match=f"^{name}: with max_norm the weight gets new values"):
            function(ids.array, table.array, max_norm=1.0)
        with pytest.raises(ValueError, match=f"^{name}: norm_type must be positive, saw 0"):
            function(ids, table, max_norm=1.0, norm_type=0)
