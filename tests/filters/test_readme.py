"""What the README says can be done in Python, done."""

import re
from pathlib import Path

import numpy as np

README = Path(__file__).parents[2] / "README.md"


def snippet(section):
    """Return the Python of a section."""
    text = README.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    return code


def test_votes_become_p_keep():
    rng = np.random.default_rng(0)
    is_good = rng.random(500) < 0.3
    votes = np.where(rng.random((500, 4)) < 0.85, is_good[:, None], ~is_good[:, None])
    told = {"votes": votes.astype(np.int8)}
    exec(snippet("Ensembling"), told)
    assert told["p_keep"][is_good].mean() > told["p_keep"][~is_good].mean() + 0.5


def test_vectors_become_clusters_and_copies():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 32))
    vectors[200:] = vectors[:100]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    told = {"vectors": vectors.astype(np.float16)}
    exec(snippet("Deduplication, concepts, balance"), told)
    assert told["centroids"].shape == (100, 32)
    assert ((told["similarity"] > 0.95) == (np.arange(300) >= 200)).all()
    assert (told["earlier"][200:] == np.arange(100)).all()
