"""What deciding can be told beyond the ensemble: copies, concepts, balance, in that order."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from filters.concepts import AnyClustering, Flat

Prefer = Literal["p_keep", "hard", "easy", "random"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dedup:
    """Copies and near-copies of pictures; one of each group stays.

    Attributes:
        content: Whether pictures whose files have the same bytes are copies.
        copy_bits: Perceptual hashes that differ in at most so many of 64 bits are of copies; -1
            switches it off.
        embedding: Column whose cosine tells near-copies (SemDeDup, arXiv:2303.09540).
        similarity: Cosine above which two pictures say the same; 1 switches it off.
        keep: Share of the pairs compared that stays; the similarity is found from it. 0 is off.
        mode: "any_earlier" puts a pair out if any that goes before it is alike, whether or not
            that one stays (the paper's rule); "greedy_kept" only if one that stays is;
            "components" keeps one of all that hang together.
        prefer: Which of a group goes first: that of the highest p(keep), the farthest from its
            centroid ("hard", the paper's), the nearest ("easy"), or a random one.
        borders: Whether a pair is compared with its second nearest cluster, too.
        first: Whether this comes before the ensemble's cut or budget.
        cluster: Pairs are compared inside a cluster of these.
    """

    content: bool = True
    copy_bits: Annotated[int, Field(ge=-1, le=32)] = 4
    embedding: str = "image_embedding"
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.95
    keep: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mode: Literal["any_earlier", "greedy_kept", "components"] = "any_earlier"
    prefer: Prefer = "p_keep"
    borders: bool = True
    first: bool = False
    cluster: Annotated[AnyClustering, Field(discriminator="kind")] = field(default_factory=Flat)

    def __post_init__(self) -> None:
        """Refuse what no pass over clusters can tell."""
        for name, value in (("keep", self.keep > 0), ("borders", self.borders)):
            if value and self.mode != "any_earlier":
                raise ValueError(
                    f"dedup.{name}: got {getattr(self, name)} with mode {self.mode!r}, expected "
                    f"mode 'any_earlier'; set dedup.{name} = {'0' if name == 'keep' else 'false'}"
                )
        if self.keep and self.similarity < 1:
            raise ValueError(
                f"dedup.keep: got {self.keep} beside similarity {self.similarity}, expected one of "
                "the two; set dedup.similarity = 1"
            )

    @property
    def is_semantic(self) -> bool:
        """Whether embeddings are compared."""
        return self.keep > 0 or self.similarity < 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Concepts:
    """Clusters, and how many pairs of each stay.

    Attributes:
        embedding: Column to cluster.
        keep: Share of the pairs left that stays; 1 keeps all.
        by: How the clusters share it: by complexity ("density", DBP, arXiv:2401.04578), alike
            ("uniform"), by "size", "ssp" (one threshold of distance for all, arXiv:2206.14486),
            "balanced" down the tree of a hierarchical clustering (arXiv:2405.15613).
        which: Which pairs of a cluster stay: the farthest from the centroid ("hard"), the nearest
            ("easy"), or random ones.
        temperature: Of the softmax over complexities; small gives complex clusters more.
        neighbours: Other clusters that count as near (l in the paper).
        minimum: Pairs that every cluster may keep.
        balance: Every cluster keeps at least this share of an even share (r in the paper).
        cluster: How they are found.
    """

    embedding: str = "image_embedding"
    keep: Annotated[float, Field(gt=0, le=1)] = 1.0
    by: Literal["density", "uniform", "size", "ssp", "balanced"] = "density"
    which: Literal["hard", "easy", "random"] = "hard"
    temperature: Annotated[float, Field(gt=0)] = 0.1
    neighbours: Annotated[int, Field(ge=1)] = 20
    minimum: Annotated[int, Field(ge=0)] = 1
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0
    cluster: Annotated[AnyClustering, Field(discriminator="kind")] = field(default_factory=Flat)


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """Captions by what they speak of (MetaCLIP, arXiv:2309.16671).

    A caption is matched with a list of entries; what is spoken of more than `threshold` times is
    thinned out, and a caption without an entry goes.

    Attributes:
        metadata: File of entries, one a line; "" switches it off.
        threshold: Captions of an entry that are kept on average (t in the paper).
        tail: Share of all matches that lies in entries below the threshold, which is found from
            it; 0 is off.
    """

    metadata: str = ""
    threshold: Annotated[int, Field(ge=1)] = 20_000
    tail: Annotated[float, Field(ge=0, lt=1)] = 0.0
