"""A learned number from an embedding that is there: quality, watermark, synthetic, safety."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from filters.derive.base import Columns, Derive, Map, require_name
from filters.derive.counts import Counts
from filters.derive.network import read_network
from filters.extract import Column
from filters.extract.base import Values


@dataclass(frozen=True, kw_only=True, slots=True)
class Head(Derive):
    """A linear or ReLU head on a stored embedding; a config may have any number of them.

    `filters/derive/network.py` has the file's layout; `thresher head train` writes one.

    Attributes:
        name: The column it writes.
        column: The embedding it reads.
        file: Path or URL of its safetensors file.
        output: `sigmoid` gives a probability, `linear` the bare sum, `file` what its file says.
    """

    takes: ClassVar[tuple[str, ...]] = ("embedding",)
    kind: Literal["head"] = "head"
    name: str
    column: str
    file: str
    output: Literal["file", "linear", "sigmoid"] = "file"

    def __post_init__(self) -> None:
        """Refuse a name that is no column's, and a file that could hold code."""
        require_name(self.kind, self.name)
        if not self.file.endswith(".safetensors"):
            raise ValueError(
                f"head {self.name}: got file {self.file!r}, expected a .safetensors file; pickles "
                "are not opened, convert it"
            )

    @property
    def weights(self) -> tuple[str, ...]:
        """Its file."""
        return (self.file,)

    @property
    def reads(self) -> tuple[str, ...]:
        """The embedding."""
        return (self.column,)

    @property
    def columns(self) -> tuple[Column, ...]:
        """One number; NaN without an embedding."""
        span = "[0, 1]" if self.output == "sigmoid" else "(-inf, inf)"
        return (Column(self.name, "float32", "", span, f"a head on {self.column}"),)

    def load(self, weights: Mapping[str, Path], counts: Counts | None) -> Map:
        """Read the file and return the function from embeddings to numbers.

        Raises:
            ValueError: The file is no head's, or of an embedding of other dimensions.
        """
        del counts
        network = read_network(weights[self.file])
        if self.output != "file":
            network = replace(network, output=self.output)

        def make(columns: Columns) -> dict[str, Values]:
            embedding_ND = np.asarray(columns[self.column])
            if embedding_ND.ndim != 2 or embedding_ND.shape[1] != network.dim:  # noqa: PLR2004
                raise ValueError(
                    f"head {self.name}: got {self.column} of shape {list(embedding_ND.shape)}, "
                    f"expected an embedding of {network.dim} dimensions, which {self.file} was "
                    "made for; set column to that one"
                )
            return {self.name: network(embedding_ND)}

        return make
