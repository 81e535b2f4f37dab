"""Whether the winner is to be believed: one line, with the rules that say so.

A winner is `supported` where no rule is broken, `not supported` where one is, and `not judged` where the rule that counts
everything that was tried could not be computed. Rules on one history:

    deflated Sharpe >= 0.95     the best of all that was tried on this data is more than luck
    PBO <= 0.5                  choosing the best on half of the history finds one of the better half on the rest;
                                or, where many are as good, the choice loses money on at most 1 of 20 such rests
    reality check p <= 0.05     it beats the baseline by more than the best of as many would by luck
    hold-out Sharpe > 0, and at least the best baseline's there     once it was opened

On simulated paths: the targets that the search met are met on paths it has not seen, and the score there is above every
baseline's. Where a study names the baseline to beat, it is that one instead of the best.

Sources: Bailey and Lopez de Prado (2014); Bailey, Borwein, Lopez de Prado and Zhu (2017); White (2000), Hansen (2005).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from search.luck import SURE

EVEN = 0.5  # PBO: choosing does no better than drawing
LEVEL = 0.05  # of the reality check

BEST = "the best baseline"  # unless a study names another one to beat
Label = Literal["supported", "not supported", "not judged"]
Sign = Literal[">=", ">", "<="]
BROKEN = {">=": "<", ">": "<=", "<=": ">"}
EXACT = 17  # digits after which a float64 has no more to say

DEFLATED, PBO, REALITY_CHECK, UNSEEN = "deflated Sharpe", "PBO", "reality check", "targets met on unseen paths"


@dataclass(frozen=True, slots=True)
class Rule:
    """A number, and what it must be: `value` `sign` `limit`. `of` says whose number the limit is, `digits` are printed.

    >>> Rule("deflated Sharpe", 0.9499, ">=", 0.95, "").text, Rule("PBO", 0.11, "<=", 0.5, "").text
    ('deflated Sharpe 0.9499 < 0.95', 'PBO 0.11 <= 0.5')
    """

    what: str
    value: float
    sign: Sign
    limit: float
    explained: str
    of: str = ""
    digits: int = 2

    @property
    def met(self) -> bool:
        """Whether it holds."""
        return _holds(self.value, self.sign, self.limit)

    @property
    def text(self) -> str:
        """The comparison as it came out, with as many digits as it takes to be true of the numbers printed."""
        sign = self.sign if self.met else BROKEN[self.sign]
        for digits in range(self.digits, EXACT):
            value, limit = f"{self.value:.{digits}f}", f"{self.limit:.{digits}f}"
            if float(value) == 0.0:
                value = value.removeprefix("-")
            if round(self.limit, self.digits) == self.limit:
                limit = f"{self.limit:g}"
            if _holds(float(value), sign, float(limit)):
                break
        else:
            value, limit = repr(self.value), repr(self.limit)
        return f"{self.what} {value} {sign} {limit}" + (f" of {self.of}" if self.of else "")


@dataclass(frozen=True)
class Verdict:
    """`line` is for people; `rules` is what it is made of, `missing` why a rule could not be judged, by its name."""

    label: Label
    line: str
    rules: tuple[Rule, ...]
    missing: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Sharpe ratios a year on bars that the search did not see, of the winner and of the baseline to beat there, if any;
    `whose` says which that is."""

    sharpe: float
    baseline: float | None
    whose: str = BEST


def of_history(
    *,
    deflated: float | None,
    overfitting: float | None,
    reality_check: float | None,
    tried: int,
    loss: float | None = None,
    hold_out: HoldOut | None = None,
    why: Mapping[str, str] | None = None,
) -> Verdict:
    """The verdict on one history, after `tried` configurations in all on this data.

    None or NaN is what could not be computed, `why` by the rule's name (`DEFLATED`, `PBO`, `REALITY_CHECK`). A hold-out that
    was not opened is no rule. `overfitting` is PBO, `loss` how often the choice on one half loses money on the other: where
    all are equally good, whichever was best on one half is often below the median of the other, and none the worse for it.

    >>> of_history(deflated=0.41, overfitting=0.62, reality_check=0.04, tried=80).line
    'not supported: deflated Sharpe 0.41 < 0.95, PBO 0.62 > 0.5'
    >>> of_history(deflated=0.99, overfitting=0.11, reality_check=0.004, tried=80).line
    'supported: deflated Sharpe 0.99 >= 0.95, PBO 0.11 <= 0.5, reality check p 0.004 <= 0.05'
    >>> of_history(deflated=0.99, overfitting=0.62, loss=0.01, reality_check=0.004, tried=80).line
    'supported: deflated Sharpe 0.99 >= 0.95, loss on the other half 0.01 <= 0.05, reality check p 0.004 <= 0.05'
    >>> of_history(deflated=0.99, overfitting=0.11, reality_check=None, tried=80, why={REALITY_CHECK: "no baseline"}).line
    'supported: deflated Sharpe 0.99 >= 0.95, PBO 0.11 <= 0.5; not judged: reality check (no baseline)'
    """
    of = "one configuration" if tried == 1 else f"the best of {tried:,} configurations"
    given = (
        (DEFLATED, deflated, f"the probability that the true Sharpe ratio of {of} tried on this data is above zero"),
        (PBO, overfitting, "how often the best on half of the history is in the lower half on the rest"),
        (
            REALITY_CHECK,
            reality_check,
            "how often the best of as many no better than the baseline would beat it by so much",
        ),
    )
    known = {name: (value, told) for name, value, told in given if value is not None and not math.isnan(value)}
    rules = []
    if DEFLATED in known:
        rules.append(Rule(DEFLATED, known[DEFLATED][0], ">=", SURE, known[DEFLATED][1]))
    if PBO in known:
        rules.append(_choosing(*known[PBO], loss))
    if REALITY_CHECK in known:
        rules.append(
            Rule(f"{REALITY_CHECK} p", known[REALITY_CHECK][0], "<=", LEVEL, known[REALITY_CHECK][1], digits=3)
        )
    if hold_out is not None:
        rules.append(Rule("hold-out Sharpe", hold_out.sharpe, ">", 0.0, "the winner earns on bars no search has seen"))
        if hold_out.baseline is not None:
            rules.append(
                Rule(
                    "hold-out Sharpe",
                    hold_out.sharpe,
                    ">=",
                    hold_out.baseline,
                    "the winner does at least as well there as not searching at all",
                    of=hold_out.whose,
                )
            )
    return _verdict(rules, _missing([name for name, *_ in given if name not in known], why), needed=DEFLATED)


def of_paths(
    *,
    met: int | None,
    targets: int,
    score: float | None,
    baseline: float | None,
    whose: str = BEST,
    why: Mapping[str, str] | None = None,
) -> Verdict:
    """The verdict on simulated paths: how many targets are `met` on paths that the search has not seen, of those it met on its
    own (`targets`), and the `score` there, beside that of the `baseline` to beat (None without one, which is then no rule).
    `met` None: there are no such paths.

    >>> of_paths(met=4, targets=4, score=0.84, baseline=0.62).line
    'supported: targets met on unseen paths 4 >= 4, score on unseen paths 0.84 > 0.62 of the best baseline'
    >>> of_paths(met=None, targets=4, score=None, baseline=None, why={UNSEEN: "the paths have one stream only"}).line
    'not judged: targets met on unseen paths (the paths have one stream only)'
    """
    rules = []
    if met is not None:
        rules.append(
            Rule(
                UNSEEN, met, ">=", targets, "every target that the search met is met on paths it has not seen", digits=0
            )
        )
    if score is not None and baseline is not None:
        told = f"the score on paths no search has seen is above that of {whose}"
        rules.append(Rule("score on unseen paths", score, ">", baseline, told, of=whose))
    return _verdict(rules, _missing([UNSEEN] if met is None else [], why), needed=UNSEEN)


def _choosing(overfitting: float, explained: str, loss: float | None) -> Rule:
    """Whether choosing does good; or no harm, where it does not matter which is chosen."""
    if overfitting > EVEN and loss is not None and loss <= LEVEL:
        told = (
            "how often the best on half of the history loses money on the rest; it often ranks low there "
            f"(PBO {overfitting:.2f}), but among others that are as good"
        )
        return Rule("loss on the other half", loss, "<=", LEVEL, told)
    return Rule(PBO, overfitting, "<=", EVEN, explained)


def _verdict(rules: Sequence[Rule], missing: Mapping[str, str], *, needed: str) -> Verdict:
    broken = [rule for rule in rules if not rule.met]
    unjudged = ", ".join(f"{name} ({why})" for name, why in missing.items())
    told = ", ".join(rule.text for rule in broken or rules)
    label: Label
    if broken:
        label, line = "not supported", f"not supported: {told}"
    elif needed in missing:
        label, line = "not judged", f"not judged: {unjudged}" + (f"; {told}" if told else "")
    else:
        label, line = "supported", f"supported: {told}" + (f"; not judged: {unjudged}" if unjudged else "")
    return Verdict(label, line, tuple(rules), missing)


def _missing(names: Sequence[str], why: Mapping[str, str] | None) -> dict[str, str]:
    return {name: (why or {}).get(name, "could not be computed") for name in names}


def _holds(value: float, sign: str, limit: float) -> bool:
    return {">=": value >= limit, ">": value > limit, "<=": value <= limit, "<": value < limit}[sign]
