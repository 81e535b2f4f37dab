"""Strategies by name: from the catalogue, or from the text of a user's own file."""

from __future__ import annotations

import difflib
import hashlib
import linecache
import sys
from types import ModuleType

from kernels.errors import InputError
from kernels.strategy import Strategy
from kernels.strategy_check import blame, check


def load_strategy(name: str, code: str | None = None, *, origin: str = "<strategy file>") -> Strategy:
    """The strategy of that name.

    Parameters
    ----------
    name
        A name of `kernels.STRATEGIES`; with `code`, the name that the file's STRATEGY bears.
    code
        The text of a user's file, which must define `STRATEGY`. It is run as a module named by its content: the same
        text is the same module, and what is pickled by one process loads in another that was given the same text.
    origin
        How messages call the file.

    Raises
    ------
    InputError
        No such name; a file that does not run, defines no STRATEGY, or whose rule does not work (`check`).

    >>> load_strategy("tsmom_hedge").name
    'tsmom_hedge'
    """
    if code is None:
        return _from_catalogue(name)
    strategy = _from_text(code, origin)
    if strategy.name != name:
        raise InputError(
            f"{origin}: STRATEGY.name is {strategy.name!r}, but the study asks for {name!r}; write the same name in both"
        )
    return strategy


def _from_catalogue(name: str) -> Strategy:
    from kernels import STRATEGIES  # the package lists the strategies and offers this function

    if name not in STRATEGIES:
        near = difflib.get_close_matches(name, STRATEGIES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(
            f"strategy.name: no strategy {name!r}; {hint}the catalogue has {', '.join(STRATEGIES)}; "
            "a strategy of your own is named with its file (strategy.file)"
        )
    return STRATEGIES[name]


def _from_text(code: str, origin: str) -> Strategy:
    """The checked STRATEGY of a file; each text is run once per process."""
    name = f"hedgegrid_strategy_{hashlib.sha256(code.encode()).hexdigest()[:16]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = origin
        lines = code.splitlines(keepends=True)
        linecache.cache[origin] = (len(code), None, lines, origin)  # tracebacks show the user's lines
        sys.modules[name] = module  # its own classes look their module up while it runs
        try:
            exec(compile(code, origin, "exec", dont_inherit=True), module.__dict__)
            check(_strategy_of(module, origin), origin)
        except InputError:
            del sys.modules[name]
            raise
        except (Exception, SystemExit) as error:  # whatever a user's file may do
            del sys.modules[name]
            raise InputError(blame(error, origin)) from error
    strategy: Strategy = sys.modules[name].STRATEGY
    return strategy


def _strategy_of(module: ModuleType, origin: str) -> Strategy:
    found = getattr(module, "STRATEGY", None)
    if not isinstance(found, Strategy):
        got = "does not define STRATEGY" if found is None else f"defines STRATEGY as a {type(found).__name__}"
        raise InputError(f"{origin}: {got}; end it with STRATEGY = Strategy(name=..., ...) from kernels")
    return found
