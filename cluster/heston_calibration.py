"""Heston's parameters from a real chain of options, by QuantLib; a chain that does not fit is refused with the reason."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from cluster.option_config import ChainConfig
from cluster.quotes import read_quotes
from kernels.errors import InputError
from kernels.heston import HestonParameters, quote
from kernels.implied_volatility import implied_volatility
from kernels.market import FloatArray
from kernels.option_market import DAYS_PER_YEAR

WIDEST = 0.5  # spread over mid of a quote that still says something
FARTHEST = 1.65  # |d1|: deltas from 5 to 95 %
PARITY = 7  # strikes nearest the money whose put-call parity gives an expiry's forward (the median)
STARTS = ((2.0, 0.5, -0.6), (6.0, 1.5, -0.6))  # kappa, xi, rho that the search starts from; the better fit is kept


@dataclass(frozen=True)
class Calibration:
    """Heston's parameters for one chain, and how well they fit it.

    `residuals` has a row per quote: days, strike, forward, market and model (implied volatilities), error in vol points.
    """

    ticker: str
    date: str
    spot: float
    dividend_yield: float  # that put-call parity implies
    parameters: HestonParameters
    rmse: float  # vol points
    seconds: float
    residuals: pd.DataFrame

    @property
    def sentence(self) -> str:
        """The fit in words, for the log and the report."""
        p = ", ".join(f"{name} {value:.4g}" for name, value in asdict(self.parameters).items())
        worst = self.residuals["error"].abs().max()
        return (
            f"{self.ticker}: Heston calibrated to {len(self.residuals)} quotes of {self.date} in {self.seconds:.1f} s: {p}; "
            f"RMSE {self.rmse:.2f} vol points (largest {worst:.2f}), Feller ratio {self.parameters.feller:.2f}, "
            f"spot {self.spot:g}, dividend yield by parity {self.dividend_yield:.2%}"
        )


def calibrate(frame: pd.DataFrame, chain: ChainConfig, ticker: str, rate: float) -> Calibration:
    """The parameters that fit one session's out-of-the-money implied volatilities best, in least squares of vol points.

    InputError where QuantLib is missing, the chain has too few quotes, or the fit is worse than `max_rmse`.
    """
    started = time.perf_counter()
    vols = chain_volatilities(frame, chain, ticker, rate)
    date = f"{vols['date'].iloc[0]:%Y-%m-%d}"
    found, without = [], []
    for start in STARTS:
        try:
            found.append(HestonParameters(**_fit(vols, start)))
        except InputError as away:  # a chain that is no diffusion at all sends a parameter away
            without.append(str(away).splitlines()[0])
    if not found:
        raise InputError(
            f"{chain.path}, {ticker} {date}: Heston's model does not fit these {len(vols)} quotes ({without[0]}); "
            "take another date, raise min_days above the next earnings date, or give parameters"
        )
    parameters = min(found, key=lambda p: float(np.mean(_model_errors(vols, p) ** 2)))
    error = _model_errors(vols, parameters)
    rmse = float(np.sqrt(np.mean(error**2)))
    if not rmse <= chain.max_rmse:
        raise InputError(
            f"{chain.path}, {ticker} {date}: Heston's model fits with an RMSE of {rmse:.2f} vol points, max_rmse is "
            f"{chain.max_rmse:g}; take another date, narrow min_days and max_days, or give parameters"
        )
    years = vols["days"] / DAYS_PER_YEAR
    gap = rate * years - np.log(vols["forward"] / vols["spot"])
    residuals = vols[["days", "strike", "forward", "volatility"]].rename(columns={"volatility": "market"})
    residuals = residuals.assign(model=vols["volatility"] + error / 100.0, error=error)
    return Calibration(
        ticker=ticker,
        date=date,
        spot=float(vols["spot"].iloc[0]),
        dividend_yield=float((gap * years).sum() / (years**2).sum()),
        parameters=parameters,
        rmse=rmse,
        seconds=time.perf_counter() - started,
        residuals=residuals,
    )


def chain_volatilities(frame: pd.DataFrame, chain: ChainConfig, ticker: str, rate: float) -> pd.DataFrame:
    """Implied volatilities of one session's out-of-the-money options: date, spot, days, strike, forward, volatility.

    Mids where bids and asks are quoted (zero bids dropped), else last trades of at least `min_volume`. The forward of an
    expiry is what put-call parity gives at the strikes nearest the money, since volatilities against the spot would carry
    the dividend. At most `max_quotes`, spread over expiries and strikes.
    """
    quotes = read_quotes(frame, chain.path, ticker, chain.date, chain.date)
    quotes = quotes[quotes["price"].notna()]
    quotes = quotes[quotes["date"] == quotes["date"].max()]
    session = f"{chain.path}, {ticker} {quotes['date'].iloc[0]:%Y-%m-%d}"
    wide = (quotes["high"] - quotes["low"]) / quotes["price"] > WIDEST
    kept = quotes[
        ~wide & (quotes["volume"] >= chain.min_volume) & quotes["days"].between(chain.min_days, chain.max_days)
    ]
    slices = [_expiry(day, rate) for _, day in kept.groupby("expiry")]
    sizes = [len(part) for part in slices]
    if sum(sizes) < chain.min_quotes:
        raise InputError(
            f"{session}: {sum(sizes)} usable quotes, min_quotes is {chain.min_quotes}: of {len(quotes)} rows {int(wide.sum())} "
            f"have spreads over {WIDEST:.0%} of the mid, {len(kept)} are {chain.min_days:g} to {chain.max_days:g} days from "
            "expiry, and the rest lie out of the money with a price; take another date or more expiries"
        )
    each = max(3, chain.max_quotes // len([n for n in sizes if n]))
    thinned = [
        p.iloc[np.unique(np.linspace(0, len(p) - 1, min(each, len(p))).round().astype(int))] for p in slices if len(p)
    ]
    return pd.concat(thinned, ignore_index=True)


def _expiry(day: pd.DataFrame, rate: float) -> pd.DataFrame:
    """One expiry's out-of-the-money volatilities against its forward."""
    years, spot = float(day["days"].iloc[0]) / DAYS_PER_YEAR, float(day["spot"].iloc[0])
    calls, puts = (day[day["right"] == right].groupby("strike")["price"].last() for right in "CP")
    parity = (calls - puts).dropna()
    near = parity.iloc[np.argsort(np.abs(parity.to_numpy()), kind="stable")[:PARITY]]
    forwards = near.index.to_numpy(dtype=np.float64) + np.exp(rate * years) * near.to_numpy()
    forward = float(np.median(forwards)) if len(forwards) else spot * float(np.exp(rate * years))
    out = day[np.where(day["strike"] >= forward, day["right"] == "C", day["right"] == "P")]
    found = np.full(len(out), np.nan)
    for kind, right in (("call", "C"), ("put", "P")):
        rows = (out["right"] == right).to_numpy()
        strikes, prices = out["strike"].to_numpy()[rows], out["price"].to_numpy()[rows]
        at = np.full(rows.sum(), forward)
        # on the forward, both rates equal: Black's formula
        found[rows] = implied_volatility(kind, prices, at, strikes, np.full(rows.sum(), years), rate, rate)
    spread = found * np.sqrt(years)
    d1 = np.log(forward / out["strike"].to_numpy()) / spread + 0.5 * spread
    table = out[["date", "spot", "days", "strike"]].assign(forward=forward, volatility=found)
    usable: pd.DataFrame = table[np.abs(d1) <= FARTHEST]  # NaN fails here too
    return usable


def _model_errors(vols: pd.DataFrame, parameters: HestonParameters) -> FloatArray:
    """Model less market implied volatility of each quote, in vol points; a price without one counts as volatility 0."""
    error = np.empty(len(vols))
    for days, rows in vols.groupby("days").indices.items():
        years = float(str(days)) / DAYS_PER_YEAR
        strike = (vols["strike"] / vols["forward"]).to_numpy()[rows]
        one = np.ones(len(rows))
        price = quote("call", one, strike, years, parameters.v0 * one, parameters, 0.0).price
        model = implied_volatility("call", price, one, strike, years * one, 0.0)
        error[rows] = 100.0 * (np.nan_to_num(model) - vols["volatility"].to_numpy()[rows])
    return error


def _fit(vols: pd.DataFrame, start: tuple[float, float, float]) -> dict[str, float]:
    """QuantLib's least squares from one start: prices on a forward of 1, divided by their vega."""
    ql = _quantlib()
    before = ql.Settings.instance().evaluationDate
    today = ql.Date(1, 1, 2020)
    ql.Settings.instance().evaluationDate = today  # only differences of dates matter
    try:
        flat = ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, ql.Actual365Fixed()))
        near = vols.assign(away=(vols["strike"] / vols["forward"] - 1.0).abs()).sort_values("away")
        first, last = (
            near[near["days"] == d]["volatility"].iloc[0] ** 2 for d in (vols["days"].min(), vols["days"].max())
        )
        kappa, xi, rho = start
        process = ql.HestonProcess(flat, flat, ql.QuoteHandle(ql.SimpleQuote(1.0)), first, kappa, last, xi, rho)
        model = ql.HestonModel(process)
        engine = ql.AnalyticHestonEngine(model, 96)
        helpers, weights = [], []
        for row in vols.itertuples():
            helper = ql.HestonModelHelper(
                ql.Period(round(float(str(row.days))), ql.Days),
                ql.NullCalendar(),
                1.0,
                float(str(row.strike)) / float(str(row.forward)),
                ql.QuoteHandle(ql.SimpleQuote(float(str(row.volatility)))),
                flat,
                flat,
                ql.BlackCalibrationHelper.PriceError,
            )
            helper.setPricingEngine(engine)
            helpers.append(helper)
            weights.append(1.0 / _vega(row) ** 2)
        model.calibrate(
            helpers,
            ql.LevenbergMarquardt(1e-8, 1e-8, 1e-8),
            ql.EndCriteria(300, 50, 1e-8, 1e-8, 1e-8),
            ql.NoConstraint(),
            weights,
        )
        theta, kappa, xi, rho, v0 = model.params()
    finally:
        ql.Settings.instance().evaluationDate = before
    return {"v0": v0, "kappa": kappa, "theta": theta, "xi": xi, "rho": rho}


def _vega(row: Any) -> float:
    """Black's vega on a forward of 1."""
    spread = row.volatility * np.sqrt(row.days / DAYS_PER_YEAR)
    d1 = np.log(row.forward / row.strike) / spread + 0.5 * spread
    return float(np.exp(-0.5 * d1**2) / np.sqrt(2.0 * np.pi) * np.sqrt(row.days / DAYS_PER_YEAR))


def _quantlib() -> Any:
    """QuantLib; InputError with the way to install it where it is not."""
    try:
        return import_module("QuantLib")  # here, since only a calibration needs it
    except ImportError:
        raise InputError(
            "market.chain: Heston's model is calibrated by QuantLib, which is not installed; pip install 'hedgegrid[options]' "
            "or give market.parameters"
        ) from None
