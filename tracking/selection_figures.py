"""Figures that ask whether a winner is real: what luck would show, and how the chosen do where they were not chosen.

Sharpe ratios are a year's throughout. Every function takes plain arrays and gives a `Figure`; what is not finite is left
out and counted in its note.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tracking.axes import around, thinned
from tracking.palette import BEST, FAINT, LOSS, OTHERS, PALE
from tracking.panels import Array, Axis, Band, Chart, Figure, FloatArray, Line, Mark, Points

BINS = (8, 60)  # fewest and most of a histogram
FEW = 60  # so many numbers are dots, each seen


def tried(
    sharpes: FloatArray, expected: float, deflated: float, named: Mapping[str, float], *, configurations: int
) -> Figure:
    """The Sharpe ratios of all that was tried, (N,), beside what the best of as many worthless ones would show.

    `expected` is that ratio, `deflated` the probability that the winner's is more; `named` has the winner's ratio first,
    then those of baselines. `configurations` is the true number tried, where fewer are drawn.
    """
    values, note = _finite(sharpes, "configurations")
    known = {name: value for name, value in named.items() if np.isfinite(value)}
    if not len(values) or not known:
        return Figure("luck", "Sharpe ratios: none is finite", (), note)
    places = [expected, *known.values()]
    marks, top = histogram(values, PALE, f"{len(values):,} configurations", keep=places)
    marks.append(_upright(expected, top, f"best by luck {expected:.2f}", LOSS, dashed=True))
    for number, (name, value) in enumerate(known.items()):
        colour = OTHERS[number % len(OTHERS)] if number else BEST
        marks.append(_upright(value, top * (1.0 if not number else 0.8), f"{name} {value:.2f}", colour))
    name, value = next(iter(known.items()))
    side = "above" if value > expected else "not above"
    title = (
        f"The Sharpe ratio {value:.2f} of {name} is {side} the {expected:.2f} of the best of {configurations:,} by luck"
    )
    title += f": deflated Sharpe {deflated:.2f}" if np.isfinite(deflated) else ""
    note += " By luck: the best of as many worthless configurations whose ratios scatter as these do, at most as chance alone"
    note += " makes those of independent ones scatter."
    return Figure("luck", title, (_counted("Sharpe ratio a year", marks),), note)


def overfitting(logits: FloatArray, inside: FloatArray, outside: FloatArray, probability: float) -> Figure:
    """Splits of the blocks in halves, (K,) each: the logit of the chosen one's rank on the other half, and its Sharpe
    ratios where it was chosen (`inside`) and there (`outside`)."""
    values, note = _finite(logits, "splits")
    if not len(values):
        return Figure("overfitting", "Probability of backtest overfitting: no split to show", (), note)
    edges = np.linspace(*around(min(float(values.min()), 0.0), max(float(values.max()), 0.0)), _bins(values) + 1)
    step = edges[1] - edges[0]
    edges = np.arange(np.floor(edges[0] / step), np.ceil(edges[-1] / step) + 1) * step  # one edge is 0
    # A rank in the middle counts as no better than the others, so 0 belongs to the left.
    counts = np.histogram(np.where(values == 0.0, -step / 2, values), edges)[0]
    low = int(np.searchsorted(edges, -step / 2, side="right"))
    marks = [
        *_blocks(edges[: low + 1], counts[:low], LOSS, "no better than the median of all"),
        *_blocks(edges[low:], counts[low:], BEST, "better"),
    ]
    both = np.isfinite(inside) & np.isfinite(outside)
    x, y = inside[both], outside[both]
    panels = [_counted("logit of its rank on the other half", marks, "splits")]
    if len(x):
        ends = around(float(x.min()), float(x.max()))
        shown = thinned(_share(x), _share(y))
        scatter: tuple[Mark, ...] = (
            Line("nothing", np.array(ends), np.zeros(2), FAINT, 1.0, listed=False),
            Points("one split each", x[shown], y[shown], BEST, 5, opacity=0.5),
            Line("as good as where it was chosen", np.array(ends), np.array(ends), OTHERS[5], 1.2, dashed=True),
        )
        panels.append(Chart(Axis("Sharpe ratio where it was chosen", limits=ends), Axis("on the other half"), scatter))
        note += (
            f" Where it was chosen the Sharpe ratio is {x.mean():.2f} on average, on the other half {y.mean():.2f}; "
        )
        note += f"it is below 0 there in {np.mean(y < 0.0):.0%} of the splits."
    title = (
        f"Chosen by Sharpe ratio on one half of the blocks, it is no better than the median of all on the other half in "
        f"{probability:.0%} of {len(logits):,} splits (PBO {probability:.2f})"
    )
    return Figure("overfitting", title, tuple(panels), note, columns=len(panels))


def cross_validation(paths: FloatArray, inside: float) -> Figure:
    """Sharpe ratios of the out-of-sample paths of a purged combinatorial cross-validation, (K,), beside the one in sample."""
    values, note = _finite(paths, "paths")
    if not len(values):
        return Figure("cross_validation", "Purged combinatorial cross-validation: no path to show", (), note)
    marks, top = dots(values, BEST, "one out-of-sample path each", keep=[inside, 0.0])
    middle = float(np.median(values))
    marks.append(_upright(middle, top, f"median {middle:.2f}", BEST))
    marks.append(_upright(inside, top, f"the winner in sample {inside:.2f}", LOSS, dashed=True))
    loses = int((values < 0.0).sum())
    heights = Axis("", "category", limits=(-0.05 * top, 1.08 * top)) if len(values) <= FEW else Axis("paths")
    title = (
        f"Chosen anew by Sharpe ratio on every training set, it is {middle:.2f} in the median of {len(values):,} "
        f"out-of-sample paths, the winner's {inside:.2f} in sample; {loses:,} "
        f"{'path is' if loses == 1 else 'paths are'} below 0"
    )
    return Figure("cross_validation", title, (Chart(Axis("Sharpe ratio a year"), heights, tuple(marks)),), note)


def reality_check(maxima: FloatArray, found: float, p_value: float, against: str) -> Figure:
    """The largest studentised lead in Sharpe ratio over the baseline `against` in each resampled history, (R,), and the one
    found."""
    values, note = _finite(maxima, "resampled histories")
    if not len(values):
        return Figure("reality_check", f"Reality check against {against}: no replicate to show", (), note)
    marks, top = histogram(values, PALE, "largest lead by chance", keep=[found])
    marks.append(_upright(found, top, f"found {found:.2f}", BEST))
    title = (
        f"Chance alone makes a lead over the Sharpe ratio of {against} as large as the best one found in {p_value:.1%} of "
        f"{len(values):,} resampled histories"
    )
    axis = f"largest lead in Sharpe ratio over {against}, in standard errors"
    return Figure("reality_check", title, (_counted(axis, marks, "resampled histories"),), note)


def histogram(values: FloatArray, colour: str, name: str, *, keep: list[float]) -> tuple[list[Mark], float]:
    """(N,) numbers as an outline over an axis that has those of `keep` too, and its height."""
    ends = [*keep, float(values.min()), float(values.max())]
    edges = np.linspace(*around(float(values.min()), float(values.max())), _bins(values) + 1)
    counts = np.histogram(values, edges)[0]
    whole = around(min(ends), max(ends))
    base = Line("", np.array(whole), np.zeros(2), FAINT, 1.0, listed=False)
    return [*_blocks(edges, counts, colour, name), base], float(counts.max())


def dots(values: FloatArray, colour: str, name: str, *, keep: list[float]) -> tuple[list[Mark], float]:
    """The same as a dot each, those of one bin on top of each other; of many, their histogram."""
    if len(values) > FEW:
        return histogram(values, colour, name, keep=keep)
    low, high = around(float(values.min()), float(values.max()))
    bins = np.minimum((20 * (values - low) / (high - low)).astype(np.int64), 19)
    order = np.argsort(values, kind="stable")
    heights = np.empty(len(values))
    seen: dict[int, int] = {}
    for at in order:
        seen[bins[at]] = heights[at] = seen.get(bins[at], 0) + 1
    words = tuple(f"Sharpe ratio {value:.2f}" for value in values)
    ends = np.array(around(min([*keep, low]), max([*keep, high])))
    base = Line("", ends, np.zeros(2), FAINT, 1.0, listed=False)
    return [base, Points(name, values, heights, colour, 7, words=words)], float(heights.max()) + 0.5


def _blocks(edges: FloatArray, counts: Array, colour: str, name: str) -> list[Mark]:
    """A histogram's outline and what is below it; none of no bins."""
    if not len(counts):
        return []
    # Both ends of every bin; the first and the last stand on the ground.
    x = np.repeat(edges, 2)
    y = np.concatenate([[0.0], np.repeat(counts.astype(np.float64), 2), [0.0]])
    return [Band(name, x, np.zeros(len(x)), y, colour), Line(name, x, y, colour, 1.3, listed=False)]


def _upright(value: float, top: float, name: str, colour: str, *, dashed: bool = False) -> Line:
    return Line(name, np.array([value, value]), np.array([0.0, top]), colour, 2.4, dashed=dashed)


def _counted(label: str, marks: list[Mark], what: str = "configurations") -> Chart:
    return Chart(Axis(label), Axis(what), tuple(marks))


def _bins(values: FloatArray) -> int:
    """How many bins a histogram takes (Freedman and Diaconis 1981), within what can be seen."""
    upper, lower = np.quantile(values, [0.75, 0.25])
    if upper == lower:
        return BINS[0]
    width = 2.0 * (upper - lower) * len(values) ** (-1 / 3)
    return int(np.clip(round(float(np.ptp(values)) / width), *BINS))


def _share(values: FloatArray) -> FloatArray:
    """Where numbers lie between the least and the largest: 0 to 1."""
    span = float(np.ptp(values))
    return (values - values.min()) / span if span else np.zeros(len(values))


def _finite(values: FloatArray, what: str) -> tuple[FloatArray, str]:
    known = values[np.isfinite(values)]
    note = f"{len(known):,} {what}."
    return known, note + (f" Left out, not finite: {len(values) - len(known):,}." if len(known) < len(values) else "")
