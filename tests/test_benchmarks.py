"""Benchmarks: what is timed is the same work, and the GPU script's own logic holds without a GPU."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from shim import COMPILER, ShimBackend

from benchmarks import cases, gpu, option_case, options, pandas_way, pool, pool_costs, table
from benchmarks.compare import agree
from benchmarks.lanes import LanesBackend
from benchmarks.option_loop import LoopBackend
from benchmarks.roofline import Peaks, resident_threads
from benchmarks.virtual_fleet import Costs as PoolCosts
from kernels import STRATEGIES, Costs, Market
from kernels.account import Impact
from kernels.backends import cuda, why_not
from kernels.backends.numpy import NumpyBackend
from kernels.blocks import Blocks
from kernels.launch import Backend, Launch
from kernels.option_market import Contract, gbm

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


@pytest.fixture(scope="module")
def market() -> Market:
    return cases.synthetic(500, 2)  # all windows of a bar step are full by then


@needs_compiler
@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("name", STRATEGIES)
def test_cpp_lanes_equal_numpy_bit_for_bit(market: Market, name: str, width: int) -> None:
    strategy = STRATEGIES[name]
    # functions of a mathematics library (exp, log) differ in their last bit: these parts of the rule are left out
    sweep = cases.ranges(strategy, 70).drop(columns=["risk_aversion", "delta_vol_weight"], errors="ignore")
    launch, blocks = cases.launch(cases.kind_for(strategy, market), sweep, strategy)
    ours, meaning = LanesBackend(width=width).run(launch, blocks), NumpyBackend().run(launch, blocks)
    assert ((ours == meaning) | ((ours != ours) & (meaning != meaning))).all()


@needs_compiler
@pytest.mark.parametrize("impact", ["none", "square_root"])
@pytest.mark.parametrize(("kind", "side"), [("call", "sell"), ("put", "buy"), ("straddle", "sell")])
def test_the_loop_written_by_hand_is_the_same_book(kind: str, side: str, impact: Impact) -> None:
    made = gbm(("X",), scenarios=3, bars=40, step_days=1.0, contract=Contract(kind, side, 9.5), seed=5, rate=0.03)
    charged = Costs(1.0, 2.0, option_spread=0.01, impact=impact, impact_coefficient=0.1)
    for to in ("centre", "edge"):
        launch, blocks = option_case.launch(made, option_case.spread(37).assign(hedge_ratio=0.9, trade_to=to))
        program = replace(launch.program, free=charged.free)
        launch = replace(launch, program=program, costs=charged.fractions)
        meaning = NumpyBackend().run(launch, blocks)
        options.agree("by hand", LoopBackend(threads=2).run(launch, blocks), meaning)
        with pytest.raises(AssertionError, match="differ from NumPy's"):
            options.agree("by hand", meaning * (1.0 + 1e-11), meaning)


@needs_compiler
def test_the_loop_refuses_parts_of_the_rule_it_was_not_written_for() -> None:
    sweep = option_case.spread(8).assign(risk_aversion=1.0)
    with pytest.raises(ValueError, match="without risk_aversion"):
        LoopBackend().run(*option_case.launch(option_case.paths(2), sweep))


def test_the_option_benchmark_runs_the_whole_grid_of_the_study() -> None:
    grid, made = option_case.grid(), option_case.paths(2)
    assert len(grid.drop_duplicates()) == 10 * 6 * 5 * 11
    assert option_case.path_steps(made, len(grid)) == 3300 * 2 * 61


def test_the_parts_of_the_whole_add_up() -> None:
    spent = options.split(NumpyBackend(), option_case.spread(8), paths=3)
    assert spent.total == pytest.approx(sum(getattr(spent, part) for part in options.PARTS))
    assert spent.kernel > 0.0
    assert (spent + spent).total == pytest.approx(2.0 * spent.total)


def test_each_window_is_computed_once() -> None:
    rows = options.planes(option_case.paths(3)).rows
    assert [row[1] for row in rows] == ["", "", "2", "0", "20", "0", "200", "0"]


@pytest.mark.parametrize("mode", ["disabled", "hedge_only", "full"])
def test_the_pandas_way_gives_the_engines_metrics(market: Market, mode: str) -> None:
    sweep = cases.hedges(1).assign(short_mode=mode)
    ours = cases.engine(market, NumpyBackend(), sweep).metrics(sweep)
    for floats in (True, False):
        one = sweep.iloc[0].to_dict()
        agree("pandas", pandas_way.backtest(pandas_way.frames(market), one, cases.COSTS, floats=floats), ours)


def test_a_way_that_differs_is_not_timed(market: Market) -> None:
    sweep = cases.hedges(2)
    ours = cases.engine(market, NumpyBackend(), sweep).metrics(sweep)
    with pytest.raises(AssertionError, match="differ from HedgeGrid's"):
        agree("pandas", ours[["cagr"]] * 1.00001, ours)


class Processor:
    """A `gpu.Device` made of the CUDA source under g++."""

    name = "a processor"

    def backend(self, precision: str) -> Backend:
        return ShimBackend(precision)

    def prepare(self, launch: Launch, blocks: Blocks, precision: str) -> gpu.Prepared:
        def measure(threads: int) -> gpu.Timed:
            start = time.perf_counter()
            ShimBackend(precision).run(launch, blocks)
            return gpu.Timed(registers=212, local_bytes=0, seconds=(time.perf_counter() - start) * 128 / threads)

        return measure

    def peaks(self) -> Peaks:
        return Peaks(fp64_per_second=1e10, bytes_per_second=1e10, multiprocessors=1)


@needs_compiler
def test_the_gpu_script_proves_parity_before_it_times(market: Market) -> None:
    proof, throughput, shapes, roofline = gpu.measure(Processor(), market, counts=(64, 128, 256), assets=(2, 3))
    for name, precision, equal, difference in proof.rows:
        assert precision == "mixed" or equal == "100.00%" or name == "option_hedge"  # exp and log differ by an ulp
        assert float(difference) < (1e-12 if precision == "float64" else 1.0)
    assert [row[:2] for row in throughput.rows] == [(p, c) for p in gpu.PRECISIONS for c in ("64", "128", "256")]
    assert len(shapes.rows) == 4 * len(gpu.PRECISIONS) * len(gpu.THREADS)
    assert roofline.rows[0][3] == "100%"
    for measured in (proof, throughput, shapes, roofline):
        assert all(len(row) == len(measured.columns) for row in measured.rows)


@pytest.mark.skipif(why_not("cuda") is None, reason="a CUDA device answers")
def test_without_a_device_the_gpu_script_says_so_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    gpu.main()
    assert "nothing measured and nothing written" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_blocks_of_other_sizes_are_compiled_for_them(market: Market) -> None:
    text, _ = cuda.program(*cases.launch(market, cases.hedges(8)), "float64")
    assert text.count(gpu.BOUND.format(cuda.THREADS)) == 1


def test_registers_bound_the_threads_a_multiprocessor_holds() -> None:
    assert resident_threads(212, 128) == 256  # 216 registers * 128 threads: two blocks of 65536 registers
    assert resident_threads(32, 128) == 2048
    assert resident_threads(255, 256) == 256


def test_results_are_written_with_machine_and_day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    measured = table.Table("Speed", ("backend", "rate"), (("numpy", "1"), ("numba", "20")), "A note.")
    path = table.write("backends", "Backends", table.circumstances("numpy"), [measured])
    text = path.read_text()
    assert path.name == f"backends-{table.today_utc():%Y-%m-%d}.md"
    assert "| numba | 20 |" in text
    assert table.processor() in text


def test_the_simulation_of_a_pool_says_what_bounds_it() -> None:
    paid = PoolCosts(chunk=1e-3, row=1e-8, asked=1e-7, part=1e-3, part_row=1e-7, latency=2e-3, size=200, link=5e8)
    table = pool.simulation({"even": (1e-3, 1e-3), "fast": (2e-6, 2e-6)}, paid, (1, 50), 40_000_000)
    assert all(len(row) == len(table.columns) for row in table.rows)
    bound = {row[:2]: (float(row[3].rstrip("%")), row[-1]) for row in table.rows}
    assert bound["even", "1"] > (99.0, "workers")
    assert bound["even", "50"] > (90.0, "")
    assert bound["fast", "50"][0] < 40.0
    assert bound["fast", "50"][1] == "link"  # 16 s of it, 1.6 s of workers


def test_a_pools_loop_is_timed_on_the_real_thing() -> None:
    assert 0.0 < pool_costs.dispatching() < 0.01
    part, row = pool_costs.keeping(100)
    assert part + row > 0.0
