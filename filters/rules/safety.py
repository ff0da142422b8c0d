"""Pictures that a training set should do without: nudity, and faces that fill the picture."""

from dataclasses import dataclass
from typing import Literal

from filters.rules.condition import Condition
from filters.rules.ready import Primitive, ReadyMade, drop_from


@dataclass(frozen=True, kw_only=True, slots=True)
class Nsfw(ReadyMade):
    """A picture that is not safe for work: drop. Set `veto` for a filter that nothing outvotes.

    Source: Yahoo's open_nsfw: scores above 0.8 are unsafe and below 0.2 safe with high probability;
    a safe picture is no reason to keep a pair, so there is no keep vote.

    Attributes:
        most: Probability from which it is dropped.
    """

    kind: Literal["nsfw"] = "nsfw"
    name: str = "nsfw"
    most: float = 0.8
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided band."""
        return drop_from(self, "nsfw", self.most)


@dataclass(frozen=True, kw_only=True, slots=True)
class Faces(ReadyMade):
    """Faces that fill much of the picture: drop.

    Source: ours. DataComp (arXiv:2304.14108) blurs faces and drops nothing for them.

    Attributes:
        count: Faces from which it may be dropped.
        area: Their share of the picture from which it is dropped.
    """

    kind: Literal["faces"] = "faces"
    name: str = "faces"
    count: int = 1
    area: float = 0.1
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided condition."""
        return Condition(
            name=self.name,
            columns=("face_count", "face_area"),
            drop=f"face_count >= {self.count} AND face_area >= {self.area}",
            veto=self.veto,
        )
