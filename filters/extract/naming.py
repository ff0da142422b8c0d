"""Which of a detector's fixed classes a caption phrase means, by text embedding.

Shape letters: P phrases, C classes, N names of all classes together, D embedding dimensions.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

REMEMBERED = (
    100_000  # phrases; captions repeat themselves, and a phrase costs most of a millisecond
)

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class ClassNames:
    """Maps phrases to classes: those with a name whose embedding is near enough."""

    def __init__(self, embed: Embed, names_C: Sequence[Sequence[str]], *, threshold: float) -> None:
        """Embed the names of the classes.

        Args:
            embed: P texts to vectors [P, D], of a text's own whatever it is embedded with.
            names_C: Names of each class.
            threshold: Least cosine of a phrase and a name, in [-1, 1].
        """
        self._embed, self._threshold = embed, threshold
        self._name_ND = _unit(embed([name for names in names_C for name in names]))
        self._first_C = np.cumsum([0, *(len(names) for names in names_C[:-1])])
        self._known: dict[str, NDArray[np.bool_]] = {}

    def __call__(self, phrases: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each phrase means each class; bool [P, C]."""
        if len(self._known) > REMEMBERED:
            self._known.clear()
        new = list(dict.fromkeys(p for p in phrases if p not in self._known))
        if new:
            cosine_PN = _unit(self._embed(new)) @ self._name_ND.T
            best_PC = np.maximum.reduceat(cosine_PN, self._first_C, axis=1)
            self._known.update(zip(new, best_PC >= self._threshold, strict=True))
        found = [self._known[p] for p in phrases]
        return np.array(found, bool).reshape(len(phrases), len(self._first_C))


def _unit(vectors_PD: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors_PD / np.maximum(np.linalg.norm(vectors_PD, axis=1, keepdims=True), 1e-12)
