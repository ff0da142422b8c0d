"""What a ready-made rule is: thresholds of a source that become a band or a condition."""

from abc import ABC, abstractmethod

from filters.rules.band import Band
from filters.rules.base import Cuts
from filters.rules.condition import Condition

Primitive = Band | Condition


class ReadyMade(ABC):
    """A frozen dataclass of thresholds, with their source's values as defaults.

    Before anybody votes it is resolved to a primitive of its name; whatever comes after, such as
    `rules.json` and the report, sees only that. Its docstring has a first line that says what it
    does and a paragraph `Source: ...` that says whose thresholds they are, and which of them are
    our own choice; `thresher filters list` shows both.

    Attributes:
        kind: Name in a config.
        name: Unique among the rules of a config.
        veto: A drop vote is final, whatever the others say (a hard filter).
    """

    __slots__ = ()

    def __post_init__(self) -> None:
        """Refuse thresholds that make no sense when they are read, not after scoring."""
        self.primitive()

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name in a config."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Unique among the rules of a config."""

    @property
    @abstractmethod
    def veto(self) -> bool:
        """Whether a drop vote is final."""

    @abstractmethod
    def primitive(self) -> Primitive:
        """Return the band or the condition that it stands for; cut points may be quantiles."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns it reads."""
        return self.primitive().columns

    @property
    def quantiles(self) -> tuple[tuple[str, float], ...]:
        """Columns and shares of rows whose values `resolve` needs."""
        return self.primitive().quantiles

    def resolve(self, cuts: Cuts) -> Primitive:
        """Return the primitive, its quantiles replaced by values of the whole pool."""
        return self.primitive().resolve(cuts)


def drop_from(rule: ReadyMade, column: str, least: float) -> Band:
    """Drop from a value of a column on, where low is good; never vote keep."""
    return Band(name=rule.name, column=column, direction="low", drop=least, veto=rule.veto)


def best_share(rule: ReadyMade, column: str, share: float) -> Band:
    """Keep the rows with the highest values of a column, drop all others, as membership votes.

    The cut is the value of the (n + 1)-th best of N rows, n = N `share`, and rows at the cut are
    kept: n + 1 rows and all ties, as in DataComp's "top fraction".

    Args:
        rule: Whose name and veto it gets.
        column: A number, high is good; rows without one abstain.
        share: Above 0, below 1.
    """
    if not 0 < share < 1:
        raise ValueError(
            f"rule {rule.name!r}: got share {share}, expected above 0 and below 1; 0.3 keeps the "
            "best 30 %"
        )
    cut = 1 - share
    return Band(
        name=rule.name, column=column, keep=cut, drop=cut, by="quantile", veto=rule.veto
    )  # fmt: skip
