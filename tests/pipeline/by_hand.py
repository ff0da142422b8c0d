"""Everything that deciding does, over a whole pool at once: slow, and plain enough to believe."""

import numpy as np

from filters.concepts import balanced_quotas
from filters.concepts.density import complexity
from filters.concepts.direction import has_direction
from filters.concepts.grouping import keys
from filters.concepts.metaclip import spaced, threshold_for
from filters.concepts.shares import quotas_of
from filters.ensemble.budget import rows_of
from filters.hashing import hashed, uniform
from pipeline.schema import UID_BYTES
from pipeline.tables import uid_words


def decided_by_hand(pool, cfg, entries):
    """Return uid -> (reason, concept, twin) of the good rows, each uid once."""
    return _ByHand(pool, cfg).decide(entries)


class _ByHand:
    def __init__(self, pool, cfg):
        first = {}
        for i in np.flatnonzero(pool.is_ok):
            first.setdefault(pool.uids[i], i)
        self.uids = sorted(first)
        at = [first[uid] for uid in self.uids]
        self.values = {name: column[at] for name, column in pool.values.items()}
        self.captions = [pool.captions[i] for i in at]
        self.uid_N2 = _words(self.uids)
        self.cfg = cfg
        self.reason = np.array(["ok"] * len(at), object)
        self.concept = np.full(len(at), -1)
        self.twin = {}

    @property
    def left(self):
        return np.flatnonzero(self.reason == "ok")

    def decide(self, entries):
        self.reason[self.values["votes_0"] == 1] = "veto"
        if self.cfg.dedup.first:
            self.dedup()
        self.keep_best()
        if not self.cfg.dedup.first:
            self.dedup()
        if len(self.left):
            self.prune()
        if entries:
            self.balance(entries)
        return {
            uid: (self.reason[i], self.concept[i], self.twin.get(i))
            for i, uid in enumerate(self.uids)
        }

    def before(self, rows, distance=None):
        """Order rows by precedence."""
        prefer = self.cfg.dedup.prefer
        if prefer == "random":
            key = hashed(self.uid_N2[rows], salt=f"precedence:{self.cfg.seed}")
        elif prefer == "p_keep" or distance is None:
            key = -self.values["p_keep"][rows]
        else:
            key = distance[rows] * (-1.0 if prefer == "hard" else 1.0)
        return [rows[j] for j in np.lexsort((rows, key))]  # rows are in order of uid

    def dedup(self):
        self.copies()
        if self.cfg.dedup.is_semantic and len(self.left):
            self.alike()

    def copies(self):
        cfg, order = self.cfg.dedup, self.before(self.left)
        for at, i in enumerate(order):
            found = []
            for rank, j in enumerate(order[:at]):
                content, phash = (self.values[c][[i, j]] for c in ("content", "phash"))
                bits = int(phash[0] ^ phash[1]).bit_count()
                if cfg.content and content[0] == content[1]:
                    found.append((0, rank, j))
                elif bits <= cfg.copy_bits:
                    found.append((bits, rank, j))
            if found:
                self.out(i, "duplicate", min(found)[2])

    def clusters(self, embedding, clustering):
        """Return clusters and of every row its cluster, distance and second cluster."""
        vectors_ND = self.values[embedding]
        rows = [i for i in self.left if has_direction(vectors_ND[i : i + 1])[0]]
        cluster, second = (np.full(len(vectors_ND), -1) for _ in range(2))
        distance = np.full(len(vectors_ND), np.nan, np.float32)
        if not rows:
            return None, cluster, distance, second
        concepts = clustering.train(vectors_ND[rows], seed=self.cfg.seed)
        found = concepts.assign(vectors_ND[rows])
        cluster[rows], second[rows] = found.cluster_N, found.second_N
        distance[rows] = found.distance_N
        return concepts, cluster, distance, second

    def alike(self):
        cfg = self.cfg.dedup
        _, cluster, distance, second = self.clusters(cfg.embedding, cfg.cluster)
        order = self.before(np.flatnonzero(cluster >= 0), distance)
        wide_ND = self.values[cfg.embedding].astype(np.float64)
        met = {
            i: [j for j in order[:at] if cluster[i] == cluster[j]
                or (cfg.borders and (second[i] == cluster[j] or cluster[i] == second[j]))]
            for at, i in enumerate(order)
        }  # fmt: skip
        cosine = {i: {j: float(wide_ND[i] @ wide_ND[j]) for j in met[i]} for i in order}
        if cfg.mode == "any_earlier":
            self.any_earlier(order, cosine)
        elif cfg.mode == "greedy_kept":
            self.greedy_kept(order, cosine)
        else:
            self.components(order, cosine)

    def any_earlier(self, order, cosine):
        most = {i: max(cosine[i].values(), default=0.0) for i in order}
        above = self.cfg.dedup.similarity
        if self.cfg.dedup.keep:
            ascending = sorted(max(most[i], 0.0) for i in order)
            wanted = max(1, int(np.ceil(self.cfg.dedup.keep * len(order))))
            above = ascending[wanted - 1] + 1e-6 if order else 1.0
        for i in order:
            if most[i] > above:
                self.out(i, "duplicate", next(j for j in cosine[i] if cosine[i][j] == most[i]))

    def greedy_kept(self, order, cosine):
        kept = set()
        for i in order:
            copies = {j: c for j, c in cosine[i].items() if j in kept}
            most = max(copies.values(), default=0.0)
            if most > self.cfg.dedup.similarity:
                self.out(i, "duplicate", next(j for j in copies if copies[j] == most))
            else:
                kept.add(i)

    def components(self, order, cosine):
        group = {i: i for i in order}
        for i in order:
            for j, c in cosine[i].items():
                if c > self.cfg.dedup.similarity:
                    old = group[i], group[j]
                    group = {k: group[j] if g in old else g for k, g in group.items()}
        for g in set(group.values()):
            first, *others = [i for i in order if group[i] == g]
            for i in others:
                self.out(i, "duplicate", first)

    def keep_best(self):
        cfg, left = self.cfg.ensemble, self.left
        value = self.values[cfg.rank_by or "p_keep"].astype(np.float64)
        if not cfg.budget:
            self.reason[left[value[left] < cfg.keep_above]] = "low_p_keep"
            return
        rows = rows_of(cfg.budget, len(left) + int((self.reason == "veto").sum()))
        ranked = sorted(left, key=lambda i: (-np.nan_to_num(value[i], nan=-np.inf), i))
        self.reason[ranked[rows:]] = "over_budget"

    def prune(self):
        cfg = self.cfg.concepts
        concepts, cluster, distance, _ = self.clusters(cfg.embedding, cfg.cluster)
        rows = np.flatnonzero(cluster >= 0)
        self.concept = cluster
        if cfg.keep == 1:
            return
        if len(rows):
            quota_K = self.quotas(concepts, cluster, distance, rows)
        self.reason[self.left[cluster[self.left] < 0]] = "no_embedding"
        ranked = self.ranked(rows, distance)
        for k in range(concepts.clusters if len(rows) else 0):
            members = [i for i in ranked if cluster[i] == k]
            self.reason[members[quota_K[k] :]] = "quota"

    def ranked(self, rows, distance):
        which, seed = self.cfg.concepts.which, self.cfg.seed
        key = keys(which, distance_N=distance[rows], uid_N2=self.uid_N2[rows], seed=seed)
        return [rows[j] for j in np.lexsort((rows, key))]

    def quotas(self, concepts, cluster, distance, rows):
        cfg, K = self.cfg.concepts, concepts.clusters
        size_K = np.bincount(cluster[rows], minlength=K)
        total = max(1, rows_of(cfg.keep, len(rows)))
        if cfg.by == "balanced":
            return balanced_quotas(size_K, concepts.parents, total=total, seed=self.cfg.seed)
        exact_n = np.rint(np.maximum(distance[rows].astype(np.float64), 0) * 2**28)
        with np.errstate(invalid="ignore"):
            mean_K = np.bincount(cluster[rows], exact_n, K) / size_K / 2**28
        above = self.ranked(rows, distance)[:total]
        return quotas_of(
            cfg.by, size_K=size_K, above_K=np.bincount(cluster[above], minlength=K), total=total,
            complexity_K=complexity(
                concepts.centroid_KD, mean_distance_K=mean_K, neighbours=cfg.neighbours
            ),
            temperature=cfg.temperature, balance=cfg.balance, minimum=cfg.minimum,
        )  # fmt: skip

    def balance(self, entries):
        cfg, left = self.cfg.balance, self.left
        found = {i: [e for e in entries if f" {e} " in spaced(self.captions[i])] for i in left}
        count = {e: sum(e in f for f in found.values()) for e in entries}
        t = threshold_for(np.array([*count.values()]), cfg.tail) if cfg.tail else cfg.threshold
        draw = uniform(self.uid_N2, salt=f"balance:{self.cfg.seed}")
        for i in left:
            p = 1 - np.prod([1 - min(1, t / count[e]) for e in found[i]])
            if draw[i] >= np.float32(p):
                self.reason[i] = "balance"

    def out(self, i, reason, twin):
        self.reason[i], self.twin[i] = reason, self.uids[twin]


def _words(uids):
    return uid_words(np.array(uids, f"S{UID_BYTES}"))
