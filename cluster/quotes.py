"""Option quotes from a file: read, and refused where a row cannot be a quote."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kernels.errors import InputError

NEEDED = ("quote_date", "underlying", "expiry", "strike", "right", "underlying_close")
PRICES = (("bid", "ask"), ("close",), ("last_price",))  # the mid, else the last trade of the day


def read_quotes(frame: pd.DataFrame, name: str, ticker: str, start: str | None, end: str | None) -> pd.DataFrame:
    """Quotes of one ticker: date, expiry, strike, right, price, spot, days, in order of date; untraded rows left out.

    `price` is the mid where bids and asks are quoted (rows without a bid left out), else the last trade. InputError where a
    column is missing, nothing is left, or a row cannot be a quote: crossed, expired, not positive, neither C nor P.
    """
    columns = next((pair for pair in PRICES if set(pair) <= set(frame.columns)), None)
    missing = [f"{name}: column {column} is missing" for column in NEEDED if column not in frame.columns]
    if columns is None:
        missing.append(f"{name}: no prices; columns bid and ask, close, or last_price are needed")
    if missing or columns is None:
        raise InputError(missing)
    known = sorted(frame["underlying"].astype(str).unique())
    rows = frame[frame["underlying"].astype(str) == ticker]
    if rows.empty:
        raise InputError(f"{name}: no rows of underlying {ticker}; there are {', '.join(known[:20])}")
    numbers = {column: rows[column].to_numpy(dtype=np.float64) for column in ("strike", "underlying_close", *columns)}
    table = pd.DataFrame(
        {
            "row": np.flatnonzero(frame["underlying"].astype(str) == ticker) + 1,
            "date": pd.to_datetime(rows["quote_date"]).to_numpy().astype("datetime64[us]"),
            "expiry": pd.to_datetime(rows["expiry"]).to_numpy().astype("datetime64[us]"),
            "right": rows["right"].astype(str).to_numpy(),
            "spot": numbers["underlying_close"],
            "strike": numbers["strike"],
            "price": np.mean([numbers[column] for column in columns], axis=0),
            "low": numbers[columns[0]],
            "high": numbers[columns[-1]],
            "volume": rows["volume"].to_numpy(dtype=np.float64) if "volume" in rows else np.inf,
        }
    )
    _refuse_impossible(table, name, ticker)
    table = table[(table["volume"] > 0) & (table["low"] > 0)]
    if start is not None:
        table = table[table["date"] >= pd.Timestamp(start)]
    if end is not None:
        table = table[table["date"] <= pd.Timestamp(end)]
    priced = table[table["spot"] > 0]
    if priced.empty:
        why = "no row has underlying_close" if len(table) else "no row has a price and volume in these dates"
        raise InputError(f"{name}, {ticker}: {why}; an option cannot be hedged without its underlier's price")
    days = (priced["expiry"] - priced["date"]).dt.days
    return priced.assign(days=days).sort_values(["date", "expiry", "strike"], kind="stable").reset_index(drop=True)


def _refuse_impossible(table: pd.DataFrame, name: str, ticker: str) -> None:
    """Every rule that some row breaks, with the first such row."""
    rules = {
        "crossed: bid is above ask": table["low"] > table["high"],
        "expired: its quote_date is after its expiry": table["date"] > table["expiry"],
        "a strike must be above 0": ~(table["strike"] > 0),
        "a price must not be negative": ~(table["price"] >= 0),
        "right must be C or P": ~table["right"].isin(["C", "P"]),
        "underlying_close must be above 0": table["spot"] <= 0,
    }
    problems = []
    for rule, broken in rules.items():
        if broken.any():
            first = table[broken].iloc[0]
            problems.append(
                f"{name}, row {first['row']} ({ticker} {first['date']:%Y-%m-%d}, {first['expiry']:%Y-%m-%d} {first['strike']:g}"
                f" {first['right']}, {first['low']:g} to {first['high']:g}): {rule} ({broken.sum()} rows); correct them"
            )
    if problems:
        raise InputError(problems)
