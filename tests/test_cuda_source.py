"""The generated CUDA C++, proved without a device: NVIDIA's compiler takes it and keeps its state in registers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from rules import BUDGET, TANGLE

from kernels import STRATEGIES, Strategy
from kernels.backends import plane_kinds
from kernels.backends.cuda import OPTIONS, source
from kernels.program import Program, trace
from kernels.schedule import Schedule, schedule

try:
    from cupy.cuda import nvrtc
except ImportError:
    nvrtc = None

needs_nvrtc = pytest.mark.skipif(nvrtc is None, reason="cupy and its compiler are not installed (extra: gpu)")
ARCHITECTURES = (80, 90, 120)  # A100, H100 and H200, RTX 50 and RTX PRO
TSMOM = STRATEGIES["tsmom_hedge"]
DOC = Path(__file__).resolve().parents[1] / "docs" / "kernels.md"


@dataclass(frozen=True)
class Compiled:
    """What the compiler's log says of one kernel; bytes are per thread, that is per configuration."""

    registers: int
    stack: int
    spilled: int


def plan(strategy: Strategy, n_assets: int, off: frozenset[str] = frozenset(), gathered: bool = False) -> Schedule:
    banks = tuple(name for p in strategy.planes if p.keys for name in p.names(n_assets)) if gathered else ()
    return schedule(trace(Program(strategy, n_assets, off), plane_kinds(strategy, n_assets), banks))


def compile_for(architecture: int, text: str) -> Compiled:
    compiled = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        options = (*OPTIONS, f"--gpu-architecture=sm_{architecture}", "-Xptxas=-v")
        try:
            nvrtc.compileProgram(compiled, options)
        except nvrtc.NVRTCError:
            pytest.fail(nvrtc.getProgramLog(compiled))
        log = nvrtc.getProgramLog(compiled)
        assert nvrtc.getCUBIN(compiled)
    finally:
        nvrtc.destroyProgram(compiled)
    found = {
        name: [int(n) for n in re.findall(pattern, log)]
        for name, pattern in {
            "registers": r"Used (\d+) registers",
            "stack": r"(\d+) bytes stack frame",
            "stores": r"(\d+) bytes spill stores",
            "loads": r"(\d+) bytes spill loads",
        }.items()
    }
    assert all(len(values) == 1 for values in found.values()), f"not one kernel in the compiler's log:\n{log}"
    return Compiled(found["registers"][0], found["stack"][0], found["stores"][0] + found["loads"][0])


VARIANTS = {
    "every stop in use": frozenset[str](),
    "no trailing stop": frozenset({"trailing_stop_atr"}),
    "no stop at all": frozenset({"stop_loss", "trailing_stop_atr"}),
}


@needs_nvrtc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("off", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("gathered", [False, True], ids=["shared planes", "gathered banks"])
def test_the_sweep_of_eight_assets_lives_in_registers(architecture: int, off: frozenset[str], gathered: bool) -> None:
    compiled = compile_for(architecture, source(plan(TSMOM, 8, off, gathered)))
    assert compiled.stack == 0
    assert compiled.spilled == 0


@needs_nvrtc
@pytest.mark.parametrize("mixed", [False, True], ids=["float64", "mixed"])
@pytest.mark.parametrize("strategy", [*STRATEGIES.values(), BUDGET, TANGLE], ids=lambda s: s.name)
def test_every_strategy_compiles_in_both_precisions(strategy: Strategy, mixed: bool) -> None:
    assert compile_for(90, source(plan(strategy, 3, gathered=True), mixed=mixed)).registers > 0


@needs_nvrtc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("gathered", [False, True], ids=["shared planes", "gathered banks"])
def test_a_book_of_options_on_one_underlier_lives_in_registers(architecture: int, gathered: bool) -> None:
    """Every part of the rule in use."""
    compiled = compile_for(architecture, source(plan(STRATEGIES["option_hedge"], 1, gathered=gathered)))
    assert compiled.stack == 0
    assert compiled.spilled == 0


@needs_nvrtc
def test_more_assets_than_registers_hold_compile_and_say_what_they_cost() -> None:
    many = compile_for(90, source(plan(TSMOM, 64)))
    # 6 numbers are carried per asset (3 of the account, 3 of the rule), at 8 bytes each
    assert many.stack >= 64 * 6 * 8


@needs_nvrtc
@pytest.mark.parametrize(("name", "sizes"), [("tsmom_hedge", (8, 20, 64)), ("portfolio_hedge", (1, 8, 20, 64))])
def test_the_documented_costs_of_many_assets_are_what_the_compiler_says(name: str, sizes: tuple[int, ...]) -> None:
    """docs/kernels.md names registers, stack and spilled bytes; another compiler version may move them a little."""
    section = DOC.read_text().partition(f"## What the compiler says of `{name}`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| sm_(\d+) \| (\d+) \| (\d+) \| (\d+) \|$", section, flags=re.MULTILINE)
    assert {(int(assets), int(arch)) for assets, arch, *_ in rows} == {(a, s) for a in sizes for s in ARCHITECTURES}
    for assets, architecture, registers, stack, spilled in (map(int, row) for row in rows):
        now = compile_for(architecture, source(plan(STRATEGIES[name], assets)))
        assert now.registers == pytest.approx(registers, abs=24), f"{assets} assets on sm_{architecture}: {now}"
        assert now.stack == pytest.approx(stack, rel=0.25, abs=64), f"{assets} assets on sm_{architecture}: {now}"
        assert (now.spilled > 0) == (spilled > 0), f"{assets} assets on sm_{architecture}: {now}"


def test_the_source_has_nothing_that_a_thread_shares_with_another() -> None:
    """So that running it thread after thread, as the tests do with g++, means the same."""
    for strategy in (*STRATEGIES.values(), BUDGET, TANGLE):
        text = source(plan(strategy, 8, gathered=True))
        assert not re.search(r"__shared__|__shfl|__ballot|__syncthreads|atomic", text)


def test_multiplications_and_additions_are_kept_apart() -> None:
    assert "--fmad=false" in OPTIONS
