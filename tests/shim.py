"""The generated CUDA source run on the CPU: compiled as C++ by g++, thread after thread."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kernels.backends.cuda import OUT, program
from kernels.blocks import Blocks
from kernels.launch import Launch
from kernels.market import FloatArray

COMPILER = shutil.which("g++")

PROLOGUE = """
#include <cmath>
using std::sqrt; using std::exp; using std::log; using std::floor; using std::fabs;
#define __global__
#define __launch_bounds__(threads)
struct Index { int x; };
static thread_local Index blockIdx, blockDim, threadIdx;
"""
FLAGS = ["-O2", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", "-Wno-unknown-pragmas", "-Werror", "-Wall"]


@dataclass
class ShimBackend:
    """A `kernels.launch.Backend` that means what the CUDA source says."""

    precision: str = "float64"
    name: str = field(default="cuda source under g++", init=False)
    output_bytes: int = field(default=64 * 2**20, init=False)
    lanes: int = field(default=1, init=False)

    def run(self, launch: Launch, blocks: Blocks) -> FloatArray:
        text, arguments = program(launch, blocks, self.precision)
        names = [f"a{i}" for i in range(len(arguments))]
        declared = [f"{_c_type(v)} {n}" for n, v in zip(names, arguments, strict=True)]
        loop = (
            f'extern "C" void run_all({", ".join(declared)}) {{ blockDim.x = 1; threadIdx.x = 0;'
            f" for (int i = 0; i < a0 * a1; ++i) {{ blockIdx.x = i; kernel({', '.join(names)}); }} }}\n"
        )
        function = _compile(PROLOGUE + text + loop).run_all
        function(*(_pass(v) for v in arguments))
        out: FloatArray = arguments[OUT]
        return out


def _c_type(value: Any) -> str:
    kind = {"float64": "double", "float32": "float", "int32": "int", "int64": "long long"}[value.dtype.name]
    return f"{kind}*" if isinstance(value, np.ndarray) else kind


def _pass(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    return ctypes.c_int(int(value)) if value.dtype == np.int32 else ctypes.c_longlong(int(value))


def _compile(text: str) -> ctypes.CDLL:
    folder = Path(tempfile.gettempdir()) / "hedgegrid-shim"
    folder.mkdir(exist_ok=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.so"
    if not path.exists():
        assert COMPILER is not None
        code = path.with_suffix(".cpp")
        code.write_text(text)
        built = path.with_suffix(f".{id(text)}.tmp")
        subprocess.run([COMPILER, *FLAGS, "-x", "c++", str(code), "-o", str(built)], check=True)
        built.replace(path)
    return ctypes.CDLL(str(path))
