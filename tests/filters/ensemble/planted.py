"""Votes with a planted truth, for any number of classes. X = 0 abstain, X = 1 + k class k."""

import numpy as np


def votes_of(table_MXK, labels, rng):
    """Draw votes int8 [N, M] from P(X | class) of each rule."""
    votes = np.empty((len(labels), len(table_MXK)), np.int8)
    for m, table_XK in enumerate(table_MXK):
        below = rng.random((len(labels), 1)) > np.cumsum(table_XK, axis=0).T[labels]
        votes[:, m] = np.minimum(below.sum(axis=1), len(table_XK) - 1) - 1
    return votes


def symmetric(accuracies, *, classes, coverage=0.7):
    """Return tables of rules that abstain on all classes alike and err to all others alike."""
    tables = []
    for accuracy in accuracies:
        wrong = (1 - accuracy) / (classes - 1)
        vote_KK = np.where(np.eye(classes, dtype=bool), accuracy, wrong) * coverage
        tables.append(np.vstack([np.full((1, classes), 1 - coverage), vote_KK]))
    return np.array(tables)


def planted(tables, *, rows, prior, seed=0):
    """Draw labels and votes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(prior), rows, p=prior)
    return labels, votes_of(tables, labels, rng)


ONE_SIDED = np.array(  # P(abstain, drop, keep | bad, good)
    [
        [[0.15, 0.6], [0.8, 0.1], [0.05, 0.3]],
        [[0.3, 0.4], [0.5, 0.1], [0.2, 0.5]],
        [[0.7, 0.95], [0.3, 0.05], [0, 0]],
        [[0.9, 0.6], [0, 0], [0.1, 0.4]],
        [[0.2, 0.3], [0.6, 0.2], [0.2, 0.5]],
    ]
)
