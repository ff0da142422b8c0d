"""Which of a detector's fixed classes a caption phrase means, by text embedding.

Shape letters: P phrases, C classes, N names of all classes together, D embedding dimensions.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

NO_CLASS = -1
REMEMBERED = 100_000  # phrases; captions repeat themselves, and one costs most of a millisecond

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class ClassNames:
    """Maps a phrase to the class with the nearest name, if that is near enough."""

    def __init__(self, embed: Embed, names_C: Sequence[Sequence[str]], *, threshold: float) -> None:
        """Embed the names of the classes.

        Args:
            embed: P texts to vectors [P, D], each whatever it is embedded with.
            names_C: Names of each class.
            threshold: Least cosine of a phrase and a name, in [-1, 1].
        """
        self._embed, self._threshold = embed, threshold
        self._name_ND = _unit(embed([name for names in names_C for name in names]))
        self._class_N = np.repeat(np.arange(len(names_C)), [len(names) for names in names_C])
        self._known: dict[str, int] = {}

    def __call__(self, phrases: Sequence[str]) -> NDArray[np.int64]:
        """Return the class that each phrase means, or `NO_CLASS`; int64 [P].

        A phrase that as a whole means none ("old man") means what its last word does: in English
        that is the thing, and what comes before says which.
        """
        class_P = self._nearest(phrases)
        without = np.flatnonzero(class_P == NO_CLASS).tolist()
        class_P[without] = self._nearest([phrases[p].split()[-1] for p in without])
        return class_P

    def _nearest(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the class with the nearest name to each text, or `NO_CLASS`; int64 [P]."""
        if len(self._known) > REMEMBERED:
            self._known.clear()
        new = list(dict.fromkeys(t for t in texts if t not in self._known))
        if new:
            cosine_PN = _unit(self._embed(new)) @ self._name_ND.T
            near_P = cosine_PN.max(1) >= self._threshold
            class_P = np.where(near_P, self._class_N[cosine_PN.argmax(1)], NO_CLASS)
            self._known.update(zip(new, class_P.tolist(), strict=True))
        return np.array([self._known[t] for t in texts], np.int64)


def _unit(vectors_PD: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors_PD / np.maximum(np.linalg.norm(vectors_PD, axis=1, keepdims=True), 1e-12)
