"""Checkpoints come back to the last bit, other programs read them, and broken files say what is wrong."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys

import numpy
import pytest

import portanet
from portanet import nn, optim
from portanet.serialization import load, save
from portanet.tensor import Tensor

RANDOM = numpy.random.default_rng(0)
WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype is b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "bool", *WHOLE])
@pytest.mark.parametrize("shape", [(2, 3), (), (0,), (4, 0, 2), (1, 1)])
def test_arrays_come_back_to_the_last_bit(dtype, shape, path, backend):
    host = (100 * RANDOM.normal(size=shape) + (1j if dtype.startswith("complex") else 0)).astype(
        dtype if not dtype.startswith("uint") else "int8"
    )
    x = portanet.asarray(numpy.asarray(abs(host) if dtype.startswith("uint") else host).astype(dtype))
    save({"x": x}, path)
    found = load(path)
    assert list(found) == ["x"] and type(found["x"].array) is type(x.array)
    assert same(found["x"], x)


def test_the_extremes_of_whole_and_floating_numbers(path, backend):
    given = {
        "u": portanet.asarray(numpy.asarray([0, 2**64 - 1], dtype="uint64")),
        "i": portanet.asarray(numpy.asarray([-(2**63), 2**63 - 1])),
        "f": portanet.asarray(numpy.asarray([math.inf, -math.inf, math.nan, -0.0, 5e-324, 1.7976931348623157e308])),
    }
    save(given, path)
    assert all(same(x, given[name]) for name, x in load(path).items())


def test_a_whole_checkpoint_comes_back(path, backend):
    def adam(step):
        return {"step": step, "exp_avg": portanet.asarray([0.1, 0.2]), "exp_avg_sq": portanet.asarray([0.3, 0.4])}

    checkpoint = {
        "model": {
            "0.weight": portanet.asarray([[1.0, 2.0]]),
            "0.bias": portanet.asarray([0.5]),
            "1.count": portanet.asarray(7),
        },
        "optimizer": {
            "state": {0: adam(3), 1: adam(4)},
            "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "nesterov": False, "params": [0, 1], "foreach": None}],
        },
        "epoch": 3,
        "best": math.inf,
        "name": 'lecture "1" – ä',
        "nothing": {},
        "none": [],
    }
    save(checkpoint, path)
    found = load(path)
    assert plain(found) == plain(checkpoint)
    assert list(found) == list(checkpoint)
    assert isinstance(found["optimizer"]["param_groups"][0]["betas"], tuple)
    assert same(found["optimizer"]["state"][1]["exp_avg"], checkpoint["optimizer"]["state"][1]["exp_avg"])


def plain(tree):
    if isinstance(tree, Tensor):
        return ("array", str(tree.dtype), tree.tolist())
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return type(tree)([plain(value) for value in tree]) if isinstance(tree, (list, tuple)) else tree


@pytest.mark.parametrize(
    "value",
    [0, -1, 2**100, True, None, "", "a.b", 0.1, 1e-320, math.inf, -math.inf, -0.0, 1 + 2j, complex(-0.0, math.inf)],
)
def test_plain_values_come_back_as_they_are(value, path):
    save({"value": value, 5: [value, (value,)], None: {True: value}}, path)
    found = load(path)
    assert repr(found) == repr({"value": value, 5: [value, (value,)], None: {True: value}})


def test_nan_and_numpy_scalars(path):
    save([math.nan, numpy.float32(0.1), numpy.int64(3), numpy.bool_(True)], path)
    nan, *rest = load(path)
    assert math.isnan(nan)
    assert rest == [float(numpy.float32(0.1)), 3, True] and rest[2] is True


def test_a_leaf_is_stored_by_its_values_and_a_bare_array_is_allowed(path, backend):
    x = portanet.asarray([1.0, 2.0]).requires_grad_()
    save(x, path)
    assert load(path).tolist() == [1.0, 2.0] and not load(path).requires_grad
    save({"raw": x.array, "twice": x}, path)
    assert load(path)["raw"].tolist() == load(path)["twice"].tolist() == [1.0, 2.0]


def test_the_state_of_a_generator_comes_back(path, backend):
    generator = portanet.random.Generator(7)
    generator.permutation(5)
    save({"generator": generator.get_state()}, path)
    expected = generator.permutation(20).tolist()
    other = portanet.random.Generator(0)
    other.set_state(load(path)["generator"])
    assert other.permutation(20).tolist() == expected


def network():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    return model, optim.AdamW(model.parameters(), lr=0.05)


def trained(model, optimizer, steps):
    x = portanet.reshape(portanet.linspace(-1.0, 1.0, 24), (8, 3))
    for _ in range(steps):
        loss = portanet.mean(model(x) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [value.detach() for value in model.state_dict().values()]


@pytest.mark.heavy
def test_training_goes_on_as_if_it_had_not_stopped(path, backend):
    model, optimizer = network()
    trained(model, optimizer, 3)
    save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, path)
    expected = trained(model, optimizer, 2)
    found = load(path)
    other, its_optimizer = network()
    other.load_state_dict(found["model"])
    its_optimizer.load_state_dict(found["optimizer"])
    assert found["epoch"] == 3
    assert all(same(a, b) for a, b in zip(trained(other, its_optimizer, 2), expected, strict=True))


def test_files_go_from_backend_to_backend(path, backend):
    save({"x": portanet.asarray([1.0, 2.0]), "n": portanet.asarray([1, 2])}, path)
    there = load(path, backend="array_api_strict", device="device1")
    assert there["x"].backend == "array_api_strict" and str(there["x"].device).endswith("'device1')")
    assert there["x"].tolist() == [1.0, 2.0] and there["n"].dtype == portanet.asarray([1, 2]).dtype
    with portanet.use_backend("numpy"):
        save(there, path)
    here = load(path, backend=backend)
    assert type(here["x"].array) is type(portanet.zeros(1).array) and here["x"].tolist() == [1.0, 2.0]


def test_loaded_arrays_belong_to_the_caller(path):
    save({"x": portanet.asarray([1.0, 2.0])}, path)
    x = load(path)["x"]
    assert (x.array.flags.writeable and x.array.flags.owndata) or x.array.base.nbytes == 8


# ---------------------------------------------------------------------------------------------------------------------
# Half-width types, which the standard leaves out.


@pytest.mark.parametrize("name", ["torch", "jax"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_width_types_come_back_where_there_are_such(name, dtype, path):
    pytest.importorskip(name)
    with portanet.use_backend(name):
        x = portanet.asarray([1.0, -2.5, 3.140625, 65280.0, 1e-3, math.inf]).to(dtype)
        save({"x": x}, path)
        found = load(path)["x"]
    assert found.dtype is x.dtype and str(found.dtype) == dtype
    assert found.to("float32").tolist() == x.to("float32").tolist()
    widened = load(path, backend="array_api_strict")["x"]  # has neither type
    assert widened.dtype == portanet.float32 and widened.tolist() == x.to("float32").tolist()


def test_float16_stays_on_numpy(path):
    x = numpy.asarray([1.5, 65504.0, 6e-8], dtype=numpy.float16)
    save({"x": x}, path)
    assert load(path)["x"].numpy().dtype == numpy.float16
    assert load(path)["x"].numpy().tobytes() == x.tobytes()


# ---------------------------------------------------------------------------------------------------------------------
# Other programs.


def test_plain_safetensors_reads_the_arrays(path, backend):
    from safetensors.numpy import load_file

    state = {
        "0.weight": portanet.asarray([[1.0, 2.0]]),
        "flag": portanet.asarray([True]),
        "z": portanet.asarray([1 + 2j]),
    }
    save({"model": state, "epoch": 3}, path)
    found = load_file(path)
    assert sorted(found) == ["model.0.weight", "model.flag", "model.z"]
    assert found["model.0.weight"].dtype == numpy.float32 and found["model.0.weight"].tolist() == [[1.0, 2.0]]
    assert found["model.z"].tolist() == [[1.0, 2.0]]


def test_pytorch_reads_and_writes_the_same_files(path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    with portanet.use_backend("torch"):
        save({"w": portanet.asarray([1.0, 2.0]).to("bfloat16"), "n": portanet.asarray([3])}, path)
    found = load_file(path)
    assert found["w"].dtype == torch.bfloat16 and found["w"].tolist() == [1.0, 2.0] and found["n"].tolist() == [3]
    layer = torch.nn.Linear(3, 2)
    save_file(layer.state_dict(), path, metadata={"format": "pt"})
    state = load(path)
    assert sorted(state) == ["bias", "weight"] and state["weight"].tolist() == layer.weight.tolist()
    save_file({"z": torch.tensor([1 + 2j]), "h": torch.tensor([0.5], dtype=torch.bfloat16)}, path)
    assert load(path)["z"].tolist() == [1 + 2j] and load(path)["h"].dtype == portanet.float32


def test_every_array_begins_at_a_multiple_of_its_item_size(path):
    names = {"a": "uint8", "b": "float64", "c": "bool", "d": "float32", "e": "int16", "f": "complex128"}
    save({name: numpy.ones(3, dtype=dtype) for name, dtype in names.items()}, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    for name, dtype in names.items():
        assert header[name]["data_offsets"][0] % min(numpy.dtype(dtype).itemsize, 8) == 0


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be written, and what cannot be read.


class Thing:
    pass


@pytest.mark.parametrize(
    ("obj", "error", "message"),
    [
        ({"a": [1, Thing()]}, TypeError, "a.1 is a Thing.*without pickle"),
        ({"a": {1, 2}}, TypeError, "a is a set"),
        ({"a": b"bytes"}, TypeError, "a is a bytes"),
        ({"a": {1.5: 2}}, TypeError, "key 1.5 of type float"),
        ({"a.b": numpy.ones(1), "a": {"b": numpy.ones(2)}}, ValueError, "two entries would be called 'a.b'"),
        ({"__metadata__": numpy.ones(1)}, ValueError, "__metadata__"),
    ],
)
def test_what_no_file_can_hold_is_named_and_nothing_is_written(obj, error, message, path):
    save({"epoch": 1}, path)
    with pytest.raises(error, match=message):
        save(obj, path)
    assert load(path) == {"epoch": 1}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_module_is_told_to_give_its_state(path):
    class Module:
        def state_dict(self):
            return {}

    with pytest.raises(TypeError, match="state_dict"):
        save(Module(), path)


def test_a_loop_is_refused_but_a_shared_part_is_not(path):
    loop: dict = {}
    loop["self"] = [loop]
    with pytest.raises(ValueError, match=r"self\.0 holds itself"):
        save(loop, path)
    shared = [1, 2]
    save({"a": shared, "b": shared}, path)
    assert load(path) == {"a": [1, 2], "b": [1, 2]}


def test_a_crash_while_writing_leaves_the_old_file(path, monkeypatch):
    save({"epoch": 1}, path)

    def crash(raw):
        raise OSError("disk full")

    monkeypatch.setattr("portanet.serialization.to_bytes", crash)
    with pytest.raises(OSError, match="disk full"):
        save({"x": numpy.ones(3)}, path)
    assert load(path) == {"epoch": 1}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def saved(path) -> bytes:
    save({"x": numpy.arange(10.0), "epoch": 3}, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (-1, r"cut short: \d+ of \d+ bytes"),
        (40, "cut short: 40 bytes"),
        (9, "cut short"),
        (4, "no safetensors file"),
        (0, "an empty file"),
    ],
)
def test_a_truncated_file_says_so_in_one_line(keep, message, path):
    path.write_bytes(saved(path)[:keep])
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_any_truncation_and_any_extra_byte_is_found(path):
    data = saved(path)
    for keep in range(len(data)):
        path.write_bytes(data[:keep])
        with pytest.raises(ValueError, match=path.name):
            load(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(ValueError, match="damaged"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"x": [1, 2, 3]}), "a pickle, which portanet never opens"),
        (b"PK\x03\x04 and so on and so on", "a zip archive"),
        (b"\x93NUMPY\x01\x00 and so on", "a NumPy .npy file"),
        (b"area,price\n1,2\n3,4\n", "no safetensors file"),
        (b"\x02\0\0\0\0\0\0\0{]", "damaged"),
    ],
)
def test_a_foreign_file_is_told_by_what_it_is(content, message, path):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_pickle_is_never_run(path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("the pickle was opened",)

    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="a pickle"):
        load(path)


def rewritten(path, structure) -> None:
    from safetensors.numpy import save_file

    text = structure if isinstance(structure, str) else json.dumps(structure)
    save_file({"x": numpy.ones(2)}, path, metadata={"portanet": text})


@pytest.mark.parametrize(
    "structure",
    [
        "no json",
        "3",
        {"tree": {"array": "x"}},
        {"tree": {"array": "y"}, "complex": {}},
        {"tree": 3, "complex": {}},
        {"tree": {"who": "x"}, "complex": {}},
        {"tree": {"array": "x", "dict": []}, "complex": {}},
        {"tree": {"dict": [1]}, "complex": {}},
        {"tree": {"array": "x"}, "complex": {"x": "complex64"}},
    ],
)
def test_a_structure_that_does_not_fit_is_refused(structure, path):
    rewritten(path, {"tree": {"array": "x"}, "complex": {"x": "complex128"}})
    assert load(path).tolist() == 1 + 1j  # two float64 are indeed one complex128
    rewritten(path, structure)
    with pytest.raises(ValueError, match=path.name):
        load(path)


def test_no_such_file_and_no_such_backend(path):
    with pytest.raises(FileNotFoundError):
        load(path)
    save({}, path)
    with pytest.raises(ValueError, match="not known"):
        load(path, backend="numpie")
    assert load(path) == {}


def test_an_unknown_data_type_is_named(path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    save_file({"x": torch.ones(2).to(torch.float8_e4m3fn)}, path)
    with pytest.raises(ValueError, match="x has data type F8_E4M3"):
        load(path)


def test_a_backend_that_would_round_refuses(path):
    """JAX without x64 would make float32 of float64: an error where values change, none where they do not."""
    pytest.importorskip("jax")
    save({"x": numpy.asarray([0.1])}, path)
    whole = path.with_name("whole.safetensors")
    save({"n": numpy.asarray([3, -1])}, whole)
    code = (
        "import sys, warnings; warnings.simplefilter('ignore'); from portanet.serialization import load\n"
        "print(load(sys.argv[2], backend='jax')['n'].tolist())\n"
        "try: load(sys.argv[1], backend='jax')\n"
        "except ValueError as problem: print(problem)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path), str(whole)],
        capture_output=True, text=True, env={"JAX_ENABLE_X64": "0", "JAX_PLATFORMS": "cpu", "PATH": ""}, check=False,
    )  # fmt: skip
    assert result.stdout.startswith("[3, -1]\n"), result.stderr
    assert "x is float64, and jax made it float32 with other values" in result.stdout


def test_a_link_stays_a_link(path, tmp_path):
    link = tmp_path / "latest.safetensors"
    save({"epoch": 1}, path)
    try:
        link.symlink_to(path)
    except OSError as problem:
        pytest.skip(f"no links here: {problem}")
    save({"epoch": 2}, link)
    assert link.is_symlink() and load(path) == {"epoch": 2}


def test_importing_does_not_import_safetensors():
    code = "import sys, portanet.serialization; print('safetensors' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
