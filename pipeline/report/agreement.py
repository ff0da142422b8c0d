"""Rules against rules: how often two of them say the same where both speak."""

from dataclasses import dataclass

from pipeline.report.text import NONE, count, percent, plain
from pipeline.voted import Voted

CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class Pair:
    """A cell: two rules, or a rule and itself.

    Attributes:
        text: Percent of equal votes, a dash without common rows, "" of a rule with itself.
        heat: How far from even, in percent, for the shading.
        against: They disagree more often than not.
        title: In words.
    """

    text: str
    heat: int
    against: bool
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """One rule, a cell for each."""

    rule: str
    pairs: tuple[Pair, ...]


def agreement(voted: Voted | None) -> tuple[Line, ...]:
    """Lay out the agreement of M rules that vote, most M x M cells; () with fewer than two."""
    if voted is None:
        return ()
    cast = [m for m, row in enumerate(voted.analysis.votes_MK) if row.any()]
    if len(cast) < 2:  # noqa: PLR2004 -- nothing to compare
        return ()
    return tuple(Line(plain(voted.rules[i]), tuple(_pair(voted, i, j) for j in cast)) for i in cast)


def _pair(voted: Voted, i: int, j: int) -> Pair:
    told = voted.analysis
    first, second, rows = plain(voted.rules[i]), plain(voted.rules[j]), int(told.both_MM[i, j])
    if i == j:
        return Pair("", 0, False, f"{first} votes on {count(rows)} rows")
    if not rows:
        return Pair(NONE, 0, False, f"{first} and {second} vote on no row together")
    share = float(told.agreement[i, j])
    title = f"{first} and {second}: {percent(share)} of {count(rows)} rows on which both vote"
    return Pair(f"{100 * share:.0f}", round(200 * abs(share - CHANCE)), share < CHANCE, title)
