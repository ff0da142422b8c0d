"""Leases: whatever dies, in whatever order, every shard is done once and the poison is found."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.leases import Leases, Report
from pipeline.schema import Reason
from pipeline.shards import Shard


def shards(n, size=100):
    return [Shard(f"/pool/{i}.tar", f"{i}-x", size) for i in range(n)]


def leases(n, *, cells=2, attempts=3, part_bytes=2**40, size=100):
    return Leases(shards(n, size), cells=cells, attempts=attempts, part_bytes=part_bytes)


class World:
    """Cells that do what leases say, over shards whose samples may kill."""

    def __init__(self, state, rows, killers):
        self.state, self.rows, self.killers = state, rows, killers
        self.tables = {}
        self.parts = {}
        self.deaths = 0

    def do(self, cell, lease):
        deadly = set(self.killers.get(lease.shard.id, ())) - {p for p, _ in lease.without}
        first, last = self.range_of(lease)
        scores = lease.task not in {"count", "join"} and lease.verdict is None
        if scores and any(first <= p < last for p in deadly):
            self.deaths += 1
            self.state.lose(cell, Reason.CELL_DIED)
            return
        if lease.task == "part":
            self.parts.setdefault(lease.shard.id, set()).add((first, last))
        if lease.task == "join":
            covered = sorted(self.parts[lease.shard.id])
            assert [a for a, _ in covered] == [0, *(b for _, b in covered[:-1])]
            assert covered[-1][1] == self.rows
        if lease.task in {"score", "join"}:
            assert lease.shard.id not in self.tables, "done twice"
            self.tables[lease.shard.id] = (dict(lease.without), lease.verdict)
        self.state.finish(cell, Report(lease, self.rows, {"ok": self.rows}))

    def range_of(self, lease):
        if lease.task == "try":
            return lease.first, lease.last
        if lease.task == "part":
            return tuple(self.rows * p // lease.parts for p in (lease.part, lease.part + 1))
        return 0, self.rows


def run_to_the_end(world, cells, choose=lambda _busy: 0):
    state, hands = world.state, {f"c{i}": [] for i in range(cells)}
    for _ in range(10_000):
        if state.finished or state.problem:
            return
        for cell in hands:
            hands[cell] += state.take(cell, 2)
        busy = [cell for cell, hand in hands.items() if hand]
        cell = busy[choose(len(busy))]
        died = world.deaths
        world.do(cell, hands[cell].pop(0))
        if world.deaths > died:
            hands[cell] = []
    raise AssertionError("it never ends")


@settings(deadline=None)
@given(data=st.data())
def test_every_shard_is_done_once_and_every_killer_is_found(data):
    number = data.draw(st.integers(1, 8))
    cells = data.draw(st.integers(1, 4))
    rows = data.draw(st.integers(1, 40))
    killers = data.draw(
        st.dictionaries(
            st.sampled_from([s.id for s in shards(number)]),
            st.sets(st.integers(0, rows - 1), min_size=1, max_size=4),
        )
    )
    state = leases(number, cells=cells, part_bytes=data.draw(st.sampled_from([10, 10**9])))
    world = World(state, rows, killers)
    run_to_the_end(world, cells, lambda busy: data.draw(st.integers(0, busy - 1)))
    assert not state.problem
    assert set(world.tables) == {s.id for s in shards(number)}
    found = {shard: set(without) for shard, (without, _) in world.tables.items() if without}
    assert found == killers


def test_a_search_costs_a_few_deaths_for_each_halving():
    state = leases(1, cells=1)
    world = World(state, 10_000, {"0-x": {7_777}})
    run_to_the_end(world, 1)
    assert world.tables["0-x"] == ({7_777: Reason.CELL_DIED}, None)
    assert world.deaths <= 3 + 14 + 3  # attempts, halvings of 10,000, attempts on the one


def test_what_a_lost_cell_held_goes_back_and_only_the_first_is_to_blame():
    state = leases(20, cells=2)
    held = state.take("a", 3)
    assert len(held) == 3
    state.lose("a", Reason.CELL_DIED)
    again = [state.take("b", 1)[0] for _ in range(3)]
    assert {lease.shard for lease in again} == {lease.shard for lease in held}
    assert state.retried == Counter({held[0].shard.url: 1})


def test_near_the_end_nobody_hoards():
    state = leases(3, cells=2)
    (first,) = state.take("a", 2)
    assert state.take("a", 1) == []  # it has one in hand, and another cell may want the next
    assert len(state.take("b", 2)) == 1
    state.finish("a", Report(first))
    assert len(state.take("a", 2)) == 1


def test_the_last_shards_are_split_and_joined():
    state = leases(3, cells=2, size=100, part_bytes=40)
    whole = [state.take("a", 1)[0], state.take("b", 1)[0]]
    assert [lease.task for lease in whole] == ["score", "score"]
    for cell, lease in zip("ab", whole, strict=True):
        state.finish(cell, Report(lease, 10, {"ok": 10}))
    parts = [state.take("a", 1)[0], state.take("b", 1)[0]]
    assert [(p.task, p.part, p.parts) for p in parts] == [("part", 0, 2), ("part", 1, 2)]
    for cell, lease in zip("ab", parts, strict=True):
        state.finish(cell, Report(lease))
    (join,) = state.take("a", 1)
    assert (join.task, join.shard) == ("join", parts[0].shard)
    state.finish("a", Report(join, 10, {"ok": 10}))
    assert state.finished


def test_an_unreadable_shard_has_a_verdict_and_many_are_a_problem():
    state, verdicts, tries = leases(4, cells=1), [], 0
    while not state.finished:
        (lease,) = state.take("a", 1)
        bad = lease.shard.id == "0-x" and lease.verdict is None
        tries += bad
        verdicts += [lease.verdict] if lease.verdict else []
        state.finish("a", Report(lease, error="404") if bad else Report(lease, 1, {"ok": 1}))
    assert (tries, verdicts) == (3, [Reason.UNREADABLE])
    state = leases(12, cells=1)
    while not state.problem:
        for lease in state.take("a", 1):
            assert lease.verdict is None, "a verdict, although it is not the shards"
            state.finish("a", Report(lease, error="503 Slow Down"))
    assert "got 11 of 12 that cannot be read" in state.problem
    assert "503 Slow Down" in state.problem


def test_a_shard_that_kills_only_as_a_whole_is_a_problem_that_names_it():
    state = leases(1, cells=1)
    for _ in range(200):
        if state.problem:
            break
        (lease,) = state.take("a", 1)
        if lease.task == "score":
            state.lose("a", Reason.CELL_DIED)
        else:
            state.finish("a", Report(lease, 16))
    assert "/pool/0.tar" in state.problem
    assert "by no sample of it alone" in state.problem


@pytest.mark.parametrize("reason", [Reason.CELL_DIED, Reason.TIMEOUT])
def test_a_shard_that_cannot_even_be_counted_has_one_row(reason):
    state = leases(1, cells=1)
    for _ in range(6):
        (lease,) = state.take("a", 1)
        state.lose("a", reason)
    (lease,) = state.take("a", 1)
    assert lease.verdict is reason


def test_a_restarted_one_takes_what_cells_say_they_hold():
    before = leases(3, cells=2)
    (held,) = before.take("a", 1)
    (done,) = before.take("b", 1)
    after = leases(3, cells=2)
    after.claim("a", [held])
    after.finish("b", Report(done, 5, {"ok": 5}))  # of a lease that it never gave out
    assert after.done == 1
    (rest,) = after.take("b", 1)
    assert rest.shard not in {held.shard, done.shard}
    after.finish("a", Report(held, 5, {"ok": 5}))
    after.finish("b", Report(rest, 5, {"ok": 5}))
    assert after.finished


def test_a_pool_that_is_unreadable_as_a_whole_is_a_problem_however_small():
    state = leases(2, cells=1)
    for _ in range(6):
        for lease in state.take("a", 1):
            state.finish("a", Report(lease, error="404"))
    assert "got 2 of 2 that cannot be read" in state.problem
