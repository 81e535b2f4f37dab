"""Option quotes from a file: read, and refused where a row cannot be a quote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cluster.table_columns import dates, numbers, rows_of
from kernels.errors import InputError
from kernels.market_rules import and_more

NEEDED = ("quote_date", "underlying", "expiry", "strike", "right", "underlying_close")
PRICES = (("bid", "ask"), ("close",), ("last_price",))  # the mid, else the last trade of the day
CONTRACT = ["date", "expiry", "strike", "right"]  # what a quote is of


def read_quotes(frame: pd.DataFrame, name: str, ticker: str, start: str | None, end: str | None) -> pd.DataFrame:
    """Quotes of one ticker: date, expiry, strike, right, price, spot, days, in order of date.

    `price` is the mid where bids and asks are quoted (rows without a bid left out), else the last trade. Untraded rows are
    left out, except on days on which nothing traded: these stay, with price NaN. InputError where a column is missing or
    cannot be read, nothing is left, or a row cannot be a quote: crossed, expired, twice there, without a price that traded.
    """
    columns = next((pair for pair in PRICES if set(pair) <= set(frame.columns)), None)
    missing = [f"{name}: column {column} is missing" for column in NEEDED if column not in frame.columns]
    if columns is None:
        missing.append(f"{name}: no prices; columns bid and ask, close, or last_price are needed")
    if missing or columns is None:
        raise InputError(missing)
    rows = rows_of(frame, "underlying", ticker, name)
    problems: list[str] = []

    def read(how: Any, column: str) -> Any:
        found, wrong = how(rows[column], name)
        problems.extend(wrong)
        return found

    table = pd.DataFrame(
        {
            "row": rows.index,
            "date": read(dates, "quote_date"),
            "expiry": read(dates, "expiry"),
            "right": rows["right"].astype(str).to_numpy(),
            "spot": read(numbers, "underlying_close"),
            "strike": read(numbers, "strike"),
            "low": read(numbers, columns[0]),
            "high": read(numbers, columns[-1]),
            "volume": read(numbers, "volume") if "volume" in rows else np.inf,
        }
    )
    if problems:
        raise InputError(problems)
    table.insert(5, "price", 0.5 * (table["low"] + table["high"]))
    quoted = columns == PRICES[0]
    _refuse_impossible(table, name, ticker, quoted)
    if (start is not None and table["date"].max() < pd.Timestamp(start)) or (
        end is not None and table["date"].min() > pd.Timestamp(end)
    ):
        raise InputError(
            f"{name}, {ticker}: no quotes from {start or 'the first day'} to {end or 'the last'}; the file has "
            f"{table['date'].min():%Y-%m-%d} to {table['date'].max():%Y-%m-%d}; take days of these"
        )
    table = table[table["date"].between(pd.Timestamp(start or table["date"].min()), pd.Timestamp(end or "9999-12-31"))]
    traded = (table["volume"] > 0) & (table["low"] > 0)
    if not traded.any():
        what = "bid" if quoted else "price and volume"
        raise InputError(f"{name}, {ticker}: no row has a {what} in these dates; take others (start, end, date)")
    if not (table["spot"] > 0).any():
        raise InputError(
            f"{name}, {ticker}: no row has underlying_close; an option cannot be hedged without its underlier's price"
        )
    still = ~traded.groupby(table["date"]).transform("any")
    table = table.assign(price=table["price"].where(traded))[(traded | still) & (table["spot"] > 0)]
    days = (table["expiry"] - table["date"]).dt.days
    return table.assign(days=days).sort_values(["date", "expiry", "strike"], kind="stable").reset_index(drop=True)


def _refuse_impossible(table: pd.DataFrame, name: str, ticker: str, quoted: bool) -> None:
    """Every rule that some row breaks, with the first such row and what to do."""
    closes = table.groupby("date")["spot"].transform("first")
    rules = {
        "crossed, bid is above ask; correct the row or leave it out": table["low"] > table["high"],
        "expired, its quote_date is after its expiry; correct the row or leave it out": table["date"] > table["expiry"],
        "a strike must be above 0; correct the row": ~(table["strike"] > 0),
        "a price must not be negative; correct the row": (table["low"] < 0) | (table["high"] < 0),
        "right must be C or P; correct the row": ~table["right"].isin(["C", "P"]),
        "underlying_close must be above 0; correct the row": table["spot"] <= 0,
        "this contract is there twice on one day; keep one of the rows": table.duplicated(CONTRACT),
        "a day has one underlying_close, and an earlier row of the day has another; correct the row": ~(
            np.isclose(table["spot"], closes, rtol=1e-6, atol=0.0) | table["spot"].isna()
        ),
    }
    if not quoted:
        rules["volume without a price; correct the row"] = (table["volume"] > 0) & table["price"].isna()
    problems = []
    for rule, broken in rules.items():
        if broken.any():
            row = table[broken].iloc[0]
            price = (
                f"{row['low']:g} to {row['high']:g}"
                if quoted
                else f"at {row['price']:g}"
                if row["price"] >= 0
                else "without a price"
            )
            what = f"{ticker} {row['date']:%Y-%m-%d}, {row['expiry']:%Y-%m-%d} {row['strike']:g} {row['right']} {price}"
            problems.append(f"{name}, row {row['row']} ({what}): {rule}{and_more(int(broken.sum()) - 1)}")
    if problems:
        raise InputError(problems)
