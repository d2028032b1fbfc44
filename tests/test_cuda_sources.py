"""CUDA sources without a GPU: NVRTC compiles each for each data type, and its assembler says what it needs."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import portanet

KERNELS = Path(portanet.__file__).parent / "kernels" / "cupy"
NEWEST, OLDER = "sm_90", "sm_80"
# What makes a kernel of a string; by the class `Source` alone, which keeps a list of them.
MAKERS = {"ElementwiseKernel", "RawKernel", "RawModule", "ReductionKernel", "fuse", "rawkernel"}


def sources():
    """All sources by name; none where CuPy is not installed."""
    try:
        table = importlib.import_module("portanet.kernels.cupy._cuda").SOURCES
        for file in sorted(KERNELS.glob("*.py")):
            importlib.import_module(f"portanet.kernels.cupy.{file.stem}".removesuffix(".__init__"))
    except ImportError:
        return {}
    return table


SOURCES = sources()
# Every data type for one architecture, one of them for the other: a source that only one of them compiles, or fits into
# its registers, is found by any, and compiling takes seconds.
CASES = [(name, dtype, NEWEST) for name, source in SOURCES.items() for dtype in source.dtypes or ("",)]
CASES += [(name, "float32" if source.dtypes else "", OLDER) for name, source in SOURCES.items()]


@pytest.fixture(scope="module")
def compiled():
    """A function of text, architecture and options that gives NVRTC's log, or fails with it."""
    pytest.importorskip("cupy")
    from cupy_backends.cuda.libs import nvrtc

    try:
        nvrtc.getVersion()
    except Exception as problem:  # CuPy without the toolkit's compiler: an error of its own, by version
        pytest.skip(f"NVRTC is not installed: {problem}")

    def compile(text, architecture, options):
        program = nvrtc.createProgram(text, "source.cu", [], [])
        flags = [f"--gpu-architecture={architecture}", "--ptxas-options=-v", *headers(), *options]
        try:
            nvrtc.compileProgram(program, flags)
        except Exception:
            pytest.fail(nvrtc.getProgramLog(program))
        assert nvrtc.getCUBIN(program)
        return nvrtc.getProgramLog(program)

    return compile


def headers():
    """Where the headers of half-width numbers are: in NVIDIA's wheels, or in a toolkit that CuPy has found."""
    import cupy

    site = Path(cupy.__file__).parents[1]
    found = [str(file.parent) for file in sorted(site.glob("nvidia/*/include/cuda_fp16.h"))]
    toolkit = cupy.cuda.get_cuda_path()
    return [f"-I{path}" for path in [*found, *([f"{toolkit}/include"] if toolkit else [])]]


@pytest.mark.skipif(not SOURCES, reason="CuPy is not installed")
@pytest.mark.parametrize(("name", "dtype", "architecture"), CASES)
def test_a_source_compiles_without_a_warning_and_keeps_to_its_registers(name, dtype, architecture, compiled):
    source = SOURCES[name]
    log = compiled(source.text(dtype), architecture, source.options)
    assert "warning" not in log, log
    kernels = set(re.findall(r"Compiling entry function '(\w+)'", log))
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert len(spills) >= len(kernels) > 0
    assert set(spills) == {("0", "0")}, log


def test_a_source_that_spills_or_is_wrong_is_found(compiled):
    """The same look, at a kernel that holds 100 numbers in 32 registers."""
    loop = '_Pragma("unroll") for (int i = 0; i < 100; ++i)'
    body = f"float x[100]; {loop} x[i] = p[i * 77]; __syncthreads(); {loop} p[i] = x[99 - i];"
    text = f'extern "C" __global__ void f(float* p) {{ {body} }}'
    log = compiled(text, "sm_90", ("-std=c++17", "--maxrregcount=32"))
    assert set(re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)) != {("0", "0")}
    with pytest.raises(pytest.fail.Exception, match="unknown"):
        compiled('extern "C" __global__ void f(unknown x) {}', "sm_90", ())


def names_made(tree):
    return [node.attr if isinstance(node, ast.Attribute) else node.id for node in ast.walk(tree)
            if isinstance(node, (ast.Attribute, ast.Name))]  # fmt: skip


@pytest.mark.parametrize("file", sorted(KERNELS.glob("*.py")), ids=lambda file: file.name)
def test_every_kernel_is_made_of_a_source(file):
    made = MAKERS & set(names_made(ast.parse(file.read_text())))
    assert made == ({"RawModule"} if file.name == "_cuda.py" else set())
