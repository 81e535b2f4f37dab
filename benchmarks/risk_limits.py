"""What asking the risk limits costs, and a soak of random orders in which a referee finds no limit broken."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from benchmarks import cases
from benchmarks.risk_soak import ANSWERS, KINDS, REGIMES, Soak, closes, hourly, soak, symbols, together
from benchmarks.table import Table
from kernels import Market
from kernels.risk_limits import RiskLimits, logger
from kernels.risk_settings import Limits

OPEN, BARS, ROUNDS = 50, 300, 4_000
ORDERS = 1_000_000
ROOMY = Limits(symbol_limit=1.0, direction_limit=1.0, regime_limit=1.0)
EQUITY = 1_000_000.0


def market() -> tuple[Market, str]:
    """60 symbols in groups of four that move together or against each other, hourly."""
    return Market(tuple(symbols(60)), hourly(BARS), close=closes(BARS, 60, seed=0)), "synthetic"


def book(limits: Limits, made: Market | None) -> RiskLimits:
    """A book of 50 long positions of 1 % each, with the closes of a market or without any."""
    asked = RiskLimits(limits, equity=EQUITY)
    if made is not None:
        asked.update_prices(made.timestamps, dict(zip(made.tickers, made.close.T, strict=True)))
    for name in symbols(OPEN):
        asked.open(name, "long", 0.01 * EQUITY, "bull")
    return asked


def asked(made: Market) -> Table:
    """Time of one `check` with 50 open positions, by what it finds; each but the first row right after the book has changed."""
    one = replace(made, close=closes(BARS, 60, seed=0, group=60, tightness=0.99, mirrored=False))
    whole, cut = ("SYN55", "long", 0.01 * EQUITY, "bull"), ("SYN55", "long", 0.6 * EQUITY, "bull")
    tight = Limits(symbol_limit=0.4, direction_limit=0.9, regime_limit=0.95)
    many = [
        ("nothing binds, asked again", book(ROOMY, made), [whole], False),
        ("nothing binds", book(ROOMY, made), [whole], True),
        ("three limits on exposure bind", book(tight, made), [cut], True),
        ("random orders, default limits", book(Limits(pyramiding=True), made), orders(made), True),
        ("random orders, roomy limits", book(replace(ROOMY, pyramiding=True), made), orders(made), True),
        ("too close to all 50: 50 reasons", book(ROOMY, one), [whole], True),
        ("no prices at all: 50 reasons", book(ROOMY, None), [whole], True),
    ]
    rows = []
    with unlogged():
        for what, limits, some, changing in many:
            rows.append((what, *timed(limits, some, changing=changing)))
    with logged_nowhere():
        rows.append(("three limits bind, line written to a file", *timed(book(tight, made), [cut], changing=True)))
    return Table(
        "One check with 50 open positions",
        ("what it finds", "median, us", "99 %, us", "allowed whole", "reduced", "refused"),
        tuple(rows),
        f"{ROUNDS:,} checks each, wall time of each call. Lines of the log are off but in the last row.",
    )


def orders(made: Market) -> list[tuple[str, str, float, str | None]]:
    """Random orders: any symbol, either side, a median of 1 % of equity."""
    random = np.random.default_rng(1)
    return [
        (
            made.tickers[random.integers(made.n_assets)],
            ("long", "short")[random.integers(2)],
            float(random.lognormal(np.log(0.01 * EQUITY), 1.0)),
            REGIMES[random.integers(len(REGIMES))],
        )
        for _ in range(1000)
    ]


def timed(asked: RiskLimits, some: list[tuple[str, str, float, str | None]], *, changing: bool) -> tuple[str, ...]:
    """Median and 99 % of the time of a check, and the answers."""
    spent, seen = [], Soak(ROUNDS)
    for n in range(ROUNDS):
        if changing:
            asked.close("SYN1")
            asked.open("SYN1", "long", 0.01 * EQUITY, "bull")
        order = some[n % len(some)]
        start = time.perf_counter_ns()
        decision = asked.check(*order)
        spent.append((time.perf_counter_ns() - start) / 1e3)
        seen.count(decision)
    median, slow = np.quantile(spent, (0.5, 0.99))
    return f"{median:.1f}", f"{slow:.1f}", *(f"{seen.answers[kind]:,}" for kind in ANSWERS)


def told(made: Market) -> Table:
    """Time of what a book is told."""
    limits = book(ROOMY, cases.cut(made, BARS - 100))
    late = iter(range(BARS - 100, BARS))

    def bar() -> None:
        t = next(late)
        limits.update_prices(made.timestamps[t], dict(zip(made.tickers, made.close[t], strict=True)))

    def fill() -> None:
        limits.close("SYN1")
        limits.open("SYN1", "long", 0.01 * EQUITY, "bull")

    calls: dict[str, Callable[[], object]] = {
        f"update_prices, a bar of {made.n_assets} symbols": bar,
        "close and open": fill,
        "stats": limits.stats,
    }
    rows = []
    for what, call in calls.items():
        spent = []
        for _ in range(100):
            start = time.perf_counter_ns()
            call()
            spent.append((time.perf_counter_ns() - start) / 1e3)
        rows.append((what, f"{np.median(spent):.0f}"))
    return Table("What a book of 50 positions is told", ("call", "median, us"), tuple(rows))


def soaked(made: Market) -> Table:
    """A million random orders, and eight threads on one book, each judged by a referee that raises where a limit is broken."""
    rows = []
    with unlogged():
        for seed, (exposure, pyramiding) in enumerate(KINDS):
            done = soak(ORDERS // len(KINDS), seed, Limits(exposure=exposure, pyramiding=pyramiding))
            rows.append(row(f"one thread, {exposure}{', pyramiding' if pyramiding else ''}", done))
        done = together(ORDERS // 20, 0, Limits(exposure="gross", pyramiding=True))
        rows.append(row("8 threads, one book, gross, pyramiding", done))
    return Table(
        "Random orders: none enlarged, no limit exceeded",
        ("book", "orders", *ANSWERS, "most open", "seconds"),
        tuple(rows),
        "Orders, closes, bars and equities at random; the referee sums its own book after every allowed order.",
    )


def row(what: str, done: Soak) -> tuple[str, ...]:
    counts = (f"{done.answers[kind]:,}" for kind in ANSWERS)
    return what, f"{sum(done.answers.values()):,}", *counts, f"{done.most_open or ''}", f"{done.seconds:.0f}"


@contextmanager
def unlogged() -> Iterator[None]:
    """No line of the limits is made."""
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def logged_nowhere() -> Iterator[None]:
    """Lines of the limits are made and written to a file that keeps nothing."""
    handler = logging.FileHandler(os.devnull)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(handler)
        handler.close()
