"""The published sweep: its 82 configurations, its printed numbers, and how they compare with ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

PRINTED = {  # column of the published tables: metric, factor to the printed unit, decimals printed
    "sharpe": ("cagr_to_volatility", 1.0, 2),
    "cagr_pct": ("cagr", 100.0, 1),
    "max_drawdown_pct": ("max_drawdown", -100.0, 1),
    "volatility_pct": ("volatility", 100.0, 1),
    "calmar": ("calmar", 1.0, 2),
    "sortino": ("cagr_to_loss_deviation", 1.0, 2),
    "total_return_pct": ("total_return", 100.0, 0),
}


@dataclass(frozen=True)
class Table:
    """One published table: C configurations, and (C, columns) printed numbers, NaN where nothing was printed."""

    configurations: pd.DataFrame
    printed: pd.DataFrame

    def ours(self, metrics: pd.DataFrame) -> pd.DataFrame:
        """Our metrics of these configurations in the printed units, not rounded."""
        columns = {c: factor * metrics[metric] for c, (metric, factor, _) in PRINTED.items() if c in self.printed}
        return pd.DataFrame(columns).set_axis(self.printed.index)

    def units_apart(self, metrics: pd.DataFrame) -> pd.DataFrame:
        """How many units of the last printed digit lie between the printed number and ours, rounded as printed."""
        ours = self.ours(metrics)
        apart = {c: (ours[c].round(PRINTED[c][2]) - self.printed[c]) * 10 ** PRINTED[c][2] for c in self.printed}
        return pd.DataFrame(apart).abs().round()


def sweep(expected: Path) -> Table:
    """80 cells: hedge_only at 8 thresholds times 10 strengths."""
    table = pd.read_csv(expected / "tsmom_hedge_grid.csv")
    keys = ["hedge_threshold", "hedge_strength"]
    return Table(table[keys].assign(short_mode="hedge_only"), table.drop(columns=keys))


def rows(expected: Path) -> Table:
    """18 rows with all metrics: 16 of the cells and the baselines long-only and always-short."""
    table = pd.read_csv(expected / "tsmom_hedge_rows.csv")
    keys = ["short_mode", "hedge_threshold", "hedge_strength"]
    configurations = table[keys].assign(short_mode=table["short_mode"].str.lower())
    defaults = {"hedge_threshold": -0.07, "hedge_strength": 0.3}  # read by neither baseline
    return Table(configurations.fillna(defaults), table.drop(columns=keys))


def agreement(*apart: pd.DataFrame) -> tuple[int, int, float]:
    """Numbers printed, numbers equal, and the largest distance in units of the last digit."""
    values = np.concatenate([frame.to_numpy(dtype=np.float64).ravel() for frame in apart])
    values = values[~np.isnan(values)]
    return len(values), int((values == 0.0).sum()), float(values.max())


def markdown(table: Table, metrics: pd.DataFrame) -> str:
    """Published against reproduced, row by row: `ours` alone where they are equal as printed, else `printed (ours)`."""
    ours, apart = table.ours(metrics), table.units_apart(metrics)
    lines = [
        "| shorts | threshold | strength | ratio | CAGR % | max drawdown % | volatility % | Calmar | loss ratio | total % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for i, row in table.configurations.iterrows():
        hedge = row["short_mode"] == "hedge_only"
        cells = [row["short_mode"], *(f"{row[c]:g}" if hedge else "" for c in ("hedge_threshold", "hedge_strength"))]
        for column, (_, _, decimals) in PRINTED.items():
            printed, own = f"{table.printed.loc[i, column]:.{decimals}f}", f"{ours.loc[i, column]:.{decimals}f}"
            away = apart.loc[i, column]
            cells.append(f"not printed ({own})" if np.isnan(away) else printed if away == 0.0 else f"{printed} ({own})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
