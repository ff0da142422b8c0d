"""Who scores what: shards out as leases, back when something goes wrong; pure, no clock, no Ray.

A shard is leased whole. The last shards are leased in parts, so that no cell ends long before the
others. A shard whose cell died `attempts` times is searched: ever smaller ranges of it are tried
until the samples that kill are alone, and the shard is scored without them.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.schema import Reason
from pipeline.shards import Shard

Task = Literal["score", "part", "join", "count", "try"]
ROUNDS = 3  # searches of one shard, after which the fault is not in its samples
UNREADABLE, UNREADABLE_SHARE = 10, 0.01  # above both, it is not the shards


@dataclass(frozen=True, slots=True)
class Lease:
    """A piece of work.

    Attributes:
        shard: On what.
        task: `score` the whole shard; score one `part`; `join` the parts; `count` the samples;
            `try` a range of samples and write nothing.
        part: Which part, of `parts`.
        parts: Into how many parts the shard is split.
        first: First sample of a range.
        last: End of the range, not included.
        without: Samples that kill, by position, with their rows' reason.
        verdict: The one row that stands for a shard that cannot be read at all.
    """

    shard: Shard
    task: Task = "score"
    part: int = 0
    parts: int = 1
    first: int = 0
    last: int = 0
    without: tuple[tuple[int, Reason], ...] = ()
    verdict: Reason | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a cell says of a lease that it has finished, or could not read (`error`)."""

    lease: Lease
    rows: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(slots=True)
class Trouble:
    """What is known of a shard that makes trouble."""

    deaths: int = 0
    errors: int = 0
    rounds: int = 0
    parts_left: int = 0
    searching: bool = False
    ranges: list[tuple[int, int]] = field(default_factory=list)
    killers: dict[int, Reason] = field(default_factory=dict)


class Leases:
    """The state of a pass over `shards`.

    Attributes:
        done: Shards finished.
        total: Shards in all.
        problem: Why the pass cannot go on, or `""`.
    """

    def __init__(
        self, shards: Sequence[Shard], *, cells: int, attempts: int, part_bytes: int
    ) -> None:
        """Queue the shards.

        Args:
            shards: What is to be scored.
            cells: How many cells will ask.
            attempts: How often something may fail before it is believed.
            part_bytes: Least size of a part.
        """
        self._queue, self._ready, self._later = deque(shards), deque[Lease](), deque[Lease]()
        self._verdicts: list[Lease] = []
        self._held: dict[str, list[Lease]] = defaultdict(list)
        self._trouble: dict[str, Trouble] = {}
        self._cells, self._attempts, self._part_bytes = cells, attempts, part_bytes
        self._unreadable = 0
        self.done, self.total, self.problem = 0, len(shards), ""
        self.retried = Counter[str]()

    @property
    def finished(self) -> bool:
        """Whether every shard is done."""
        return self.done == self.total

    @property
    def outstanding(self) -> int:
        """Leases that cells hold."""
        return sum(map(len, self._held.values()))

    def held(self, cell: str) -> list[Lease]:
        """Return what a cell holds, in the order it was leased."""
        return list(self._held.get(cell, ()))

    def take(self, cell: str, most: int = 1) -> list[Lease]:
        """Lease up to `most` pieces of work to a cell; near the end one, and none on top of one."""
        plenty, held = len(self._queue) // (2 * self._cells), self._held[cell]
        most = min(most, plenty if held else max(1, plenty))
        leases: list[Lease] = []
        while len(leases) < most and (lease := self._next()):
            leases.append(lease)
        held += leases
        return leases

    def finish(self, cell: str, report: Report) -> None:
        """Take a lease back, done or unreadable; one that another cell has done counts once."""
        lease = report.lease
        if lease not in self._held[cell]:
            self._finish_unknown(report)
            return
        self._held[cell].remove(lease)
        if self._is_stale(lease):
            return
        if report.error:
            self._unread(lease, report.error)
        elif lease.task in {"score", "join"}:
            self.done += 1
            if lease.shard.id in self._trouble and not self._trouble[lease.shard.id].searching:
                del self._trouble[lease.shard.id]
        elif lease.task == "part":
            self._part_done(lease)
        else:
            self._go_on_searching(lease, report.rows)

    def lose(self, cell: str, reason: Reason) -> None:
        """Take back all that a cell held, because it died; the first is to blame."""
        held = self._held.pop(cell, [])
        held = [lease for lease in held if not self._is_stale(lease)]
        for lease in held[1:]:
            self._ready.appendleft(lease)
        for lease in held[:1]:
            self.retried[lease.shard.url] += 1
            self._died(lease, reason)

    def claim(self, cell: str, leases: Sequence[Lease]) -> None:
        """Note what a cell holds already; for a coordinator that was started again."""
        for lease in leases:
            if lease.task in {"score", "join"} and lease.shard in self._queue:
                self._queue.remove(lease.shard)
                self._held[cell].append(lease)

    def _next(self) -> Lease | None:
        if self._ready:
            return self._ready.popleft()
        if not self._queue:
            return self._next_of_the_last()
        few, shard = len(self._queue) < self._cells, self._queue.popleft()
        parts = min(self._cells, shard.size // self._part_bytes) if few else 1
        if parts <= 1:
            return Lease(shard)
        self._of(shard).parts_left = parts
        self._ready.extend(Lease(shard, "part", part, parts) for part in range(1, parts))
        return Lease(shard, "part", 0, parts)

    def _next_of_the_last(self) -> Lease | None:
        """Return what failed once; verdicts come when it can no more turn out to be the store."""
        if self._later:
            return self._later.popleft()
        if self._verdicts and not self.outstanding:
            self._ready.extend(self._verdicts)
            self._verdicts = []
            return self._ready.popleft()
        return None

    def _finish_unknown(self, report: Report) -> None:
        """Count a shard that a coordinator before this one had leased, if it is still waiting."""
        whole = report.lease.task in {"score", "join"} and not report.error
        if whole and report.lease.shard in self._queue:
            self._queue.remove(report.lease.shard)
            self.done += 1

    def _is_stale(self, lease: Lease) -> bool:
        """Tell a part of a shard that is done in another way by now, because a part of it kills."""
        trouble = self._trouble.get(lease.shard.id)
        return lease.task == "part" and trouble is not None and trouble.searching

    def _of(self, shard: Shard) -> Trouble:
        return self._trouble.setdefault(shard.id, Trouble())

    def _part_done(self, lease: Lease) -> None:
        trouble = self._of(lease.shard)
        trouble.parts_left -= 1
        if trouble.parts_left == 0:
            self._ready.append(replace(lease, task="join", part=0))

    def _unread(self, lease: Lease, error: str) -> None:
        trouble = self._of(lease.shard)
        trouble.errors += 1
        if trouble.errors % self._attempts:
            self._later.append(lease)
            return
        self._unreadable += 1
        most = min(max(UNREADABLE, UNREADABLE_SHARE * self.total), self.total - 1)
        if self._unreadable > most:
            self.problem = (
                f"shards: got {self._unreadable} of {self.total} that cannot be read, expected a "
                f"few at most; look after the store or the credentials and run again ({error})"
            )
        self._drop_parts(lease.shard)
        trouble.searching = True
        self._verdicts.append(Lease(lease.shard, verdict=Reason.UNREADABLE))

    def _died(self, lease: Lease, reason: Reason) -> None:
        trouble = self._of(lease.shard)
        trouble.deaths += 1
        if lease.task == "try" and lease.last - lease.first > 1:
            middle = (lease.first + lease.last) // 2
            trouble.ranges += [(middle, lease.last), (lease.first, middle)]
            self._try_next(lease.shard)
        elif trouble.deaths < self._attempts:
            self._ready.appendleft(lease)
        elif lease.task == "try":
            trouble.killers[lease.first] = reason
            self._try_next(lease.shard)
        elif lease.task == "count":
            self._ready.append(Lease(lease.shard, verdict=reason))
        else:
            self._search(lease.shard)

    def _search(self, shard: Shard) -> None:
        """Look for the samples that kill."""
        trouble = self._of(shard)
        trouble.searching, trouble.deaths, trouble.rounds = True, 0, trouble.rounds + 1
        self._drop_parts(shard)
        if trouble.rounds > ROUNDS:
            self.problem = (
                f"shard {shard.url}: got cells killed by the whole of it, but by no sample of it "
                "alone; give cells more memory, or take it out of data.shards"
            )
        self._ready.append(Lease(shard, "count"))

    def _drop_parts(self, shard: Shard) -> None:
        self._ready = deque(lease for lease in self._ready if lease.shard != shard)
        self._later = deque(lease for lease in self._later if lease.shard != shard)

    def _go_on_searching(self, lease: Lease, rows: int) -> None:
        if lease.task == "count":
            self._of(lease.shard).ranges = [(0, rows)]
        self._try_next(lease.shard)

    def _try_next(self, shard: Shard) -> None:
        trouble = self._of(shard)
        trouble.deaths = 0
        if trouble.ranges:
            first, last = trouble.ranges.pop()
            without = tuple(trouble.killers.items())
            self._ready.append(Lease(shard, "try", first=first, last=last, without=without))
        else:
            without = tuple(sorted(trouble.killers.items()))
            self._ready.append(Lease(shard, without=without))
