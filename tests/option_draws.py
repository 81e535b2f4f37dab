"""Rules, contracts and costs of every kind, for what must hold of all of them."""

from __future__ import annotations

from hypothesis import strategies as st

from kernels import Costs
from kernels.option_market import Contract

RULES = st.fixed_dictionaries(
    {
        "exposure": st.floats(0.05, 3.0),
        "hedge_ratio": st.floats(0.0, 1.5),
        "rebalance_days": st.sampled_from([1.0, 1.5, 2.0, 3.7, 20.0]),
        "band": st.sampled_from([0.0, 0.02, 0.1]),
        "risk_aversion": st.none() | st.floats(0.01, 100.0),
        "trade_to": st.sampled_from(["centre", "edge"]),
        "delta_vol_weight": st.none() | st.floats(0.01, 1.0),
        "vol_window": st.integers(5, 30),
        "skew_delta": st.none() | st.floats(-1.0, 1.0),
        "gamma_hedge_ratio": st.none() | st.floats(0.0, 1.0),
        "vol_target": st.none() | st.floats(0.05, 1.0),
    }
)
CONTRACTS = st.builds(
    Contract,
    st.sampled_from(["call", "put", "straddle"]),
    st.sampled_from(["sell", "buy"]),
    st.sampled_from([5.0, 10.3, 30.0]),
    st.floats(0.8, 1.25),
    st.floats(1.2, 4.0),
)
COSTS = st.builds(
    Costs,
    # a fee so small that what it takes has fewer digits left is no claim's matter
    fee_bps=st.just(0.0) | st.floats(1e-6, 50.0),
    slippage_bps=st.sampled_from([0.0, 5.0]),
    option_spread=st.sampled_from([0.0, 0.02]),
    impact=st.sampled_from(["none", "linear", "square_root"]),
    impact_coefficient=st.sampled_from([1e-9, 1e-8]),
)
