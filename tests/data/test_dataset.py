"""Datasets and their parts, on every backend."""

from __future__ import annotations

import numpy
import pytest

import portanet
from portanet.data import Dataset, Subset, TensorDataset, random_split
from portanet.random import Generator


def test_an_item_is_the_row_of_each_array(backend):
    x = portanet.reshape(portanet.arange(6.0), (3, 2))
    data = TensorDataset(x, portanet.asarray([5, 6, 7]))
    features, label = data[1]
    assert len(data) == 3
    assert features.tolist() == [2.0, 3.0] and label.item() == 6
    assert data[-1][1].item() == 7


def test_many_rows_by_slice_and_by_indices(backend):
    data = TensorDataset(portanet.reshape(portanet.arange(6.0), (3, 2)), portanet.asarray([5, 6, 7]))
    assert data[1:][0].tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert data[portanet.asarray([2, 0])][1].tolist() == [7, 5]
    assert data[portanet.asarray([2, 0])][0].tolist() == [[4.0, 5.0], [0.0, 1.0]]


def test_numpy_arrays_stay_numpy_until_a_loader_wants_them(backend):
    data = TensorDataset(numpy.arange(4.0))
    assert data.tensors[0].dtype == portanet.float64
    assert isinstance(data.tensors[0].array, numpy.ndarray)


def test_going_through_a_tensor_dataset_ends():
    assert [label.item() for _, label in TensorDataset([1.0, 2.0], [3, 4])] == [3, 4]


def test_first_lengths_must_agree():
    with pytest.raises(ValueError, match=r"first lengths differ.*\(3, 2\), \(4,\)"):
        TensorDataset(portanet.zeros((3, 2)), portanet.zeros(4))
    with pytest.raises(ValueError, match=r"array 1 has no axes"):
        TensorDataset(portanet.zeros(3), portanet.asarray(1.0))
    with pytest.raises(ValueError, match=r"no arrays"):
        TensorDataset()


def test_subset_picks_by_list_and_by_array(backend):
    assert [*Subset("abcd", [3, 0, -2])] == ["d", "a", "c"]
    assert [*Subset("abcd", portanet.asarray([1, 1]))] == ["b", "b"]
    assert [*Subset(Subset("abcd", [3, 2, 1]), numpy.asarray([0, 2]))] == ["d", "b"]


def test_subset_refuses_what_is_not_there():
    with pytest.raises(IndexError, match=r"index 4 of a dataset of 4"):
        Subset("abcd", [0, 4])
    with pytest.raises(IndexError, match=r"index -5"):
        Subset("abcd", [-5])
    with pytest.raises(TypeError, match=r"not a mask"):
        Subset("abcd", [True, False])


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [
        ([7, 3], [7, 3]),
        ([10, 0], [10, 0]),
        ([0.7, 0.3], [7, 3]),
        ([0.25, 0.25, 0.5], [3, 2, 5]),
        ([1 / 3, 1 / 3, 1 / 3], [4, 3, 3]),
        ([0.1] * 10, [1] * 10),
        ([1.0], [10]),
    ],
)
def test_random_split_has_the_sizes_of_pytorch_and_shares_nothing(lengths, sizes):
    parts = random_split(range(10), lengths, generator=Generator(1))
    assert [len(part) for part in parts] == sizes
    assert sorted([item for part in parts for item in part]) == list(range(10))


def test_the_same_seed_splits_alike_on_every_backend(backend):
    here = random_split(range(50), [0.5, 0.5], generator=Generator(3))
    with portanet.use_backend("numpy"):
        there = random_split(range(50), [0.5, 0.5], generator=Generator(3))
    assert [part.indices for part in here] == [part.indices for part in there]
    assert here[0].indices != list(range(25))
    assert here[0].indices != random_split(range(50), [0.5, 0.5], generator=Generator(4))[0].indices


@pytest.mark.parametrize(
    ("lengths", "message"),
    [([5, 6], r"add up to 11.*10"), ([0.5, 0.4], "add up to 0.9"), ([11, -1], "negative")],
)
def test_lengths_that_do_not_add_up_are_refused(lengths, message):
    with pytest.raises(ValueError, match=message):
        random_split(range(10), lengths)


def test_what_is_no_dataset_is_named():
    with pytest.raises(TypeError, match="generator lacks one"):
        random_split((i for i in range(3)), [1.0])
    with pytest.raises(TypeError, match=r"dict is no dataset"):
        Subset({"x": [1]}, [0])
    with pytest.raises(TypeError, match=r"generator= is a int"):
        random_split(range(3), [1.0], generator=0)


def test_lists_are_datasets():
    assert isinstance([1, 2], Dataset)
    assert not isinstance(iter([1, 2]), Dataset)
