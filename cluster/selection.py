"""Whether the winner of a study on one history is real or luck: everything that is asked of it, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cluster.plan import Plan
from cluster.tried import Tried
from cluster.validation import Opened, on_holdout, opened
from cluster.walk_forward import Walked, walk_forward
from cluster.winner import Winner, engine_for
from kernels.errors import InputError
from kernels.market import FloatArray
from search.joint import Joint, joint
from search.looks import Looks
from search.luck import Luck, luck
from search.overfitting import Overfitting, overfitting
from search.periods import bars_of
from search.plateau import Plateau
from search.purged import Purged, purged
from search.sharpe import SharpeDifference, average_correlation, sharpe_difference
from search.study import Study
from search.verdict import Verdict, verdict


@dataclass(frozen=True)
class Selection:
    """What was found of a winner; None where it could not be asked, and `why_not` says why, by name.

    `against` has the difference of the winner's Sharpe ratio (per bar) from each baseline's; `sharpes` (N,) are those a year
    of every valid configuration.
    """

    verdict: Verdict
    luck: Luck
    sharpes: FloatArray
    against: dict[str, SharpeDifference]
    overfitting: Overfitting | None
    purged: Purged | None
    walked: Walked | None
    reality: Reality | None
    joint: Joint
    plateau: Plateau
    looks: Looks
    opened: Opened | None
    why_not: dict[str, str]
'''
