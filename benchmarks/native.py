"""C++ text built by g++ and loaded."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

COMPILER = shutil.which("g++")
FLAGS = ("-O3", "-march=native", "-Wno-psabi")  # -Wno-psabi: vectors are passed between these functions only
EXACT = "-ffp-contract=off"  # no operation is fused with another, so that results equal NumPy's to the bit


@cache
def load(text: str, *flags: str) -> ctypes.CDLL:
    """The library that a C++ text makes. Its folder is private to this process: what is loaded was just compiled."""
    assert COMPILER is not None
    folder = Path(tempfile.mkdtemp(prefix="hedgegrid-native-"))
    try:
        code, library = folder / "code.cpp", folder / "code.so"
        code.write_text(text)
        subprocess.run([COMPILER, *FLAGS, *flags, "-shared", "-fPIC", str(code), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))
    finally:
        shutil.rmtree(folder)
