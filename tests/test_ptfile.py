"""Checkpoints of PyTorch's: read to the last bit without it, and without doing what a pickle says."""

from __future__ import annotations

import io
import os
import pickle
import zipfile

import numpy
import pytest

import portanet
from portanet import nn, optim

torch = pytest.importorskip("torch")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.pt"


DTYPES = "bool uint8 int8 int16 int32 int64 float16 float32 float64 complex64 complex128".split()


def numbers(dtype: str) -> numpy.ndarray:
    values = numpy.arange(12).reshape(3, 4)
    return (values % 2).astype(dtype) if dtype == "bool" else (values * (1 - 2j)).astype(dtype) if "c" in dtype else (
        values.astype(dtype)
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_data_type_comes_to_the_last_bit(dtype, path):
    wanted = numbers(dtype)
    torch.save({"x": torch.from_numpy(wanted)}, path)
    x = portanet.load(path, backend="numpy")["x"]
    assert str(x.dtype) == dtype
    assert x.numpy().tobytes() == wanted.tobytes()


def test_bfloat16_becomes_float32_where_there_is_none(path, backend):
    x = torch.tensor([1.0, 2.5, -3.25], dtype=torch.bfloat16)
    torch.save(x, path)
    y = portanet.load(path)
    assert str(y.dtype) in ("float32", "bfloat16")
    assert y.to(portanet.float32).tolist() == [1.0, 2.5, -3.25]


def test_views_keep_their_elements(path):
    base = torch.arange(24.0).reshape(4, 6)
    views = {
        "turned": base.T,
        "part": base[1:3, ::2],
        "wide": base[:1].expand(3, 6),
        "none": base[:0],
        "one": base[2, 3],
    }
    torch.save(views, path)
    found = portanet.load(path, backend="numpy")
    for name, view in views.items():
        assert found[name].shape == tuple(view.shape)
        assert found[name].tolist() == view.tolist()


def test_structure_comes_back_as_it_was(path):
    tree = {"epoch": 3, "loss": [0.5, (1, "two", None, True)], 7: {"deep": torch.ones(2)}, "size": torch.Size([2, 3])}
    torch.save(tree, path)
    found = portanet.load(path)
    assert found[7]["deep"].tolist() == [1.0, 1.0]
    del tree[7], found[7]
    assert found == {**tree, "size": (2, 3)}


def test_a_model_and_its_optimizer_go_on_from_pytorchs(path, backend):
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    their_optimizer = torch.optim.Adam(theirs.parameters(), lr=0.1)
    ours = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    our_optimizer = optim.Adam(ours.parameters(), lr=0.1)
    x = numpy.random.default_rng(0).standard_normal((5, 3), dtype="float32")

    def their_step():
        their_optimizer.zero_grad()
        theirs(torch.from_numpy(x)).square().mean().backward()
        their_optimizer.step()

    their_step()
    torch.save({"model": theirs.state_dict(), "optimizer": their_optimizer.state_dict()}, path)
    found = portanet.load(path)
    ours.load_state_dict(found["model"])
    our_optimizer.load_state_dict(found["optimizer"])
    their_step()
    our_optimizer.zero_grad()
    portanet.mean(portanet.square(ours(portanet.asarray(x)))).backward()
    our_optimizer.step()
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        numpy.testing.assert_allclose(mine.detach().numpy(), yours.detach().numpy(), rtol=2e-4, atol=2e-5)


def test_safetensors_go_there_and_back(tmp_path):
    from safetensors.torch import load_file, save_file

    theirs = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    ours.load_state_dict(portanet.load(tmp_path / "theirs.safetensors"))
    portanet.save(ours.state_dict(), tmp_path / "ours.safetensors")
    back = load_file(tmp_path / "ours.safetensors")
    for name, value in theirs.state_dict().items():
        assert back[name].dtype == value.dtype
        assert torch.equal(back[name], value)


# ------------------------------------------------------------------------------------------------------ what is refused


class Trap:
    """Would make a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_code_is_never_run(path, tmp_path):
    torch.save({"weight": torch.ones(2), "more": Trap(tmp_path / "trapped")}, path)
    with pytest.raises(ValueError, match=r"asks for posix.mkdir|asks for nt.mkdir"):
        portanet.load(path)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("thing", "named"),
    [
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"x": torch.ones(3).to_sparse()}, "torch._utils._rebuild_sparse_tensor"),
    ],
    ids=["model", "sparse"],
)
def test_what_only_code_could_build_is_refused_by_its_name(thing, named, path):
    torch.save(thing, path)
    with pytest.raises(ValueError, match=named) as caught:
        portanet.load(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def archive(path, pickled: bytes, storage: bytes = b"", **more: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", pickled)
        file.writestr("x/data/0", storage)
        for name, content in more.items():
            file.writestr(f"x/{name}", content)


class Names(pickle.Pickler):
    """Writes the names of PyTorch's functions without having them."""

    def persistent_id(self, obj):
        return obj[1] if isinstance(obj, tuple) and obj[:1] == ("persistent",) else None


class Call:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def tensor_with(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    storage = ("persistent", ("storage", torch.FloatStorage, "0", "cpu", 4))
    out = io.BytesIO()
    Names(out, 2).dump(Call(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, {}))
    return out.getvalue()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 2), (3, 1)), (-1, (2,), (1,)), (3, (2,), (-4,)), (0, (2,), (1, 1))],
    ids=str,
)
def test_no_tensor_reaches_beyond_its_storage(offset, shape, strides, path):
    archive(path, tensor_with(offset, shape, strides), numpy.arange(4, dtype="<f4").tobytes())
    with pytest.raises(ValueError, match="an array of shape"):
        portanet.load(path)


def test_what_lies_inside_of_its_storage_is_read(path):
    archive(path, tensor_with(3, (2, 2), (-2, -1)), numpy.arange(4, dtype="<f4").tobytes())
    assert portanet.load(path, backend="numpy").tolist() == [[3.0, 2.0], [1.0, 0.0]]


def test_big_endian_bytes_are_refused(path):
    archive(path, pickle.dumps(3, 2), byteorder=b"big")
    with pytest.raises(ValueError, match="big-endian"):
        portanet.load(path)


def test_a_damaged_pickle_is_refused_in_one_line(path):
    archive(path, pickle.dumps({"a": [1, 2, 3]}, 2)[:-4])
    with pytest.raises(ValueError, match="not read") as caught:
        portanet.load(path)
    assert "\n" not in str(caught.value)


def test_stand_ins_cannot_be_changed_by_a_pickle(path):
    # GLOBAL the stand-in, then BUILD with a state: it would set attributes, had the object any.
    archive(path, b"\x80\x02ctorch._utils\n_rebuild_parameter\nq\x00}q\x01X\x01\x00\x00\x00aK\x01sb.")
    with pytest.raises(ValueError, match="not read"):
        portanet.load(path)
