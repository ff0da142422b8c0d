"""What a derived column is: computed from stored columns, a shard at a time, never from pixels."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from numpy.typing import NDArray

from filters.derive.pooled import Pooled
from filters.extract import Column
from filters.extract.base import Values

# Of n good rows of a shard, by name: float32 [n] (null is NaN), uint64 [n], uint64 [n, 2] for the
# uid, float16 [n, D] for an embedding (null is zeros), or a list of n texts or lists (null is
# None).
Columns = Mapping[str, NDArray[Any] | list[Any]]
Map = Callable[[Columns], dict[str, Values]]
Told = TypeVar("Told", bound=Pooled)


class Derive(ABC, Generic[Told]):
    """A frozen dataclass of settings that turns columns into columns.

    What it has to know of the whole pool is `Counts` of hashed things, or another `Pooled`.

    A subclass sets `reads`, `columns` and `weights` in its body, without an annotation, or
    defines them as properties of its settings.

    Attributes:
        takes: dtypes that the columns it reads may have; none is any.
        version: Raised when the meaning of a column changes.
    """

    __slots__ = ()
    takes: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name in a config."""

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Columns that it reads; `caption` and `uid` are always there."""

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """Columns that it writes."""

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of packaged model files it needs."""
        return ()

    def count(self, columns: Columns) -> Told | None:
        """Find what it has to know of the whole pool in one shard; None if it needs nothing.

        What shards tell is added up, so that nothing depends on how the pool is sharded.
        """
        del columns
        return None

    @abstractmethod
    def load(self, weights: Mapping[str, Path], counts: Told | None) -> Map:
        """Return the function from a shard's columns to the new ones.

        Args:
            weights: Path by name, for every name in `weights`.
            counts: What `count` found in all shards, added up, if it finds something.
        """


def require_name(kind: str, name: str) -> None:
    """Refuse what cannot be the name of a column.

    Raises:
        ValueError: It cannot.
    """
    if not name.isidentifier():
        raise ValueError(
            f"{kind}: got name {name!r}, expected a column name of letters, digits and _; rename it"
        )
