"""The command, the main path, and who computes. Knows all the other packages."""

from pathlib import Path

import kernels

# `kernels`, `search` and `tracking` are common names: say so at once when another distribution owns one here.
if Path(kernels.__file__).resolve().parent.parent != Path(__file__).resolve().parent.parent:
    raise ImportError(
        f"the package 'kernels' that Python finds here is {kernels.__file__}, not HedgeGrid's own; "
        "install HedgeGrid in an environment of its own (make setup)"
    )
