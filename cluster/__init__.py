"""The command, the main path, and who computes. Knows all the other packages."""

import kernels

# `kernels`, `search` and `tracking` are common names: say so at once when another distribution owns one here. Where the
# package lies says nothing: a Ray worker is sent each of them in a folder of its own.
if not hasattr(kernels, "load_strategy"):
    raise ImportError(
        f"the package 'kernels' that Python finds here is {kernels.__file__}, not HedgeGrid's own; "
        "install HedgeGrid in an environment of its own (make setup)"
    )
