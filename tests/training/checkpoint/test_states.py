"""States: whatever is killed, damaged or full, an older one can be read; on any number of ranks."""

import hashlib
import json
import os
import pickle
import signal
import sys

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from pipeline.folder import Folder
from pipeline.transient import DiskFull
from tests.faulty import small_disk
from tests.ranks import run_ranks
from training.checkpoint.folder import TrainingFolder
from training.checkpoint.parts import Moments, Weights
from training.parallel.ranks import ALONE


class Toy:
    """A model with a frozen layer and a buffer, AdamW's moments, and a tally of plain numbers."""

    def __init__(self, *, width=3, ranks=ALONE, sharded=False):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, width))
        self.model[0].requires_grad_(False)
        if sharded:
            frozen = set(self.model[0].parameters())
            mesh = init_device_mesh("cpu", (ranks.count,))
            fully_shard(self.model, mesh=mesh, ignored_params=frozen)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-2, fused=True)
        self.norms = []

    def step(self):
        torch.manual_seed(len(self.norms))
        self.model(torch.randn(8, 5)).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.norms.append(float(len(self.norms)))

    def parts(self):
        optimizer = Moments(self.model, self.optimizer)
        return {"model": Weights(self.model), "optimizer": optimizer, "tally": self}

    def state_dict(self):
        return {"norms": list(self.norms), "last": None}

    def load_state_dict(self, state):
        self.norms = state["norms"]

    def values(self):
        """Everything that a state has, whole."""
        found = {**self.model.state_dict()}
        for name, part in self.parts()["optimizer"].state_dict()["state"].items():
            found |= {f"{name}/{key}": value for key, value in part.items()}
        whole = {k: v.full_tensor() if hasattr(v, "full_tensor") else v for k, v in found.items()}
        return {k: v.detach().clone() for k, v in whole.items()} | {"norms": list(self.norms)}


def states(out, *, keep=2, ranks=ALONE, identity="us"):
    return TrainingFolder(out, identity=identity, keep=keep).states(ranks)


def trained(out, steps, *, keep=2):
    """Train, with a state after every step; return the toy's values by step."""
    toy, values = Toy(), {}
    with states(out, keep=keep) as saving:
        for step in range(1, steps + 1):
            toy.step()
            saving.save(toy.parts(), step=step, counters={"replaced": step})
            values[step] = toy.values()
    return values


def restored(out, *, ranks=ALONE, identity="us", **options):
    toy = Toy(ranks=ranks, **options)
    with states(out, ranks=ranks, identity=identity) as reading:
        return reading.restore(toy.parts()), toy


def equal(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[k], b[k]) if torch.is_tensor(a[k]) else a[k] == b[k] for k in a
    )


def test_a_state_brings_everything_back_and_training_goes_on_meanwhile(out):
    values = trained(out, 3)
    state, toy = restored(out)
    assert (state.step, state.counters) == (3, {"replaced": 3})
    assert equal(toy.values(), values[3])
    assert (out / "state").names() == ["step-00000002", "step-00000003"]
    assert restored(out / "other")[0].step == 0


def test_what_is_frozen_is_not_stored(out):
    trained(out, 1)
    index = (out / "state" / "step-00000001").read(".metadata")
    assert b"model.2.weight" in index
    assert b"model.0.weight" not in index


FILES = (".metadata", "__0_0.distcp", "state.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_damaged_state_is_passed_over(out, caplog, name, how):
    values = trained(out, 3)
    folder = out / "state" / "step-00000003"
    data = bytearray(folder.read(name))
    data[len(data) // 2] ^= 255
    folder.write(name, bytes(data) if how == "flipped" else bytes(data[: len(data) // 2]))
    if how == "gone":
        folder.remove(name)
    state, toy = restored(out)
    assert state.step == 2
    assert equal(toy.values(), values[2])
    assert ("got a damaged state 3" in caplog.text) == ((name, how) != ("state.json", "gone"))
    assert (out / "state").names() == ["step-00000002"]  # the run writes the other again


def test_a_run_is_not_begun_again_by_mistake(out):
    trained(out, 2)
    for step in (1, 2):
        (out / "state" / f"step-{step:08d}").remove(".metadata")
    with pytest.raises(ValueError, match=r"got 2 damaged states in .*state, expected one that can"):
        restored(out)


def test_an_index_builds_nothing_but_an_index(out, tmp_path):
    """Not even where whoever changed it has changed its digest, too."""

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    trained(out, 1)
    folder = out / "state" / "step-00000001"
    folder.write(".metadata", pickle.dumps(Trap()))
    document = json.loads(folder.read("state.json"))
    document["files"][".metadata"] = hashlib.sha256(folder.read(".metadata")).hexdigest()
    folder.write("state.json", json.dumps(document).encode())
    with pytest.raises(ValueError, match=r"with posix.mkdir in it, expected the index that a run"):
        restored(out)
    assert not (tmp_path / "trapped").exists()


def test_another_run_and_another_model_are_refused(out):
    trained(out, 2)
    with pytest.raises(ValueError, match=r"fingerprint them, but .* holds a run with us"):
        restored(out, identity="them")
    message = r"got a state with a tensor \[3\] as model.2.bias, expected a tensor \[7\]"
    with pytest.raises(ValueError, match=message):
        restored(out, width=7)
    assert restored(out)[0].step == 2


KILLED_AT_MOST = 60


def die_at(event_number, folder):
    """Kill this process at its n-th touch of a folder: before a file is made, named or removed."""
    seen = 0

    def hook(event, args):
        nonlocal seen
        touches = event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")
        if touches and folder in str(args[0]):
            seen += 1
            if seen == event_number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def save_and_die(toy, out, event_number):
    with states(out, keep=1) as saving:
        die_at(event_number, out.url)
        saving.save(toy.parts(), step=2, counters={})
    os._exit(0)


def test_killed_at_any_moment_of_a_save_leaves_a_state(tmp_path):
    """Every touch of the disk between the beginning of a save and the end of the next, in turn."""
    toy, found = Toy(), []
    toy.step()
    for number in range(1, KILLED_AT_MOST):
        out = Folder(str(tmp_path / str(number)))
        with states(out, keep=1) as saving:
            saving.save(toy.parts(), step=1, counters={})
        child = os.fork()
        if child == 0:
            save_and_die(toy, out, number)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found.append(restored(out)[0].step)
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert code == 0, "never done"
    assert len(found) > 10
    assert found == sorted(found)  # the older one, until the newer one is complete
    assert set(found) == {1, 2}


def test_a_full_disk_leaves_the_last_good_state(tmp_path):
    with small_disk(tmp_path, size=64 * 1024) as disk:
        out = Folder(str(disk / "out"))
        values = trained(out, 1)
        (disk / "filler").write_bytes(b"x" * (os.statvfs(disk).f_bavail * 4096 - 8192))
        with pytest.raises(DiskFull, match=r"got a full disk at .*free some space"):
            trained_from(out)
        assert (out / "state").names() == ["step-00000001"]
        assert equal(restored(out)[1].values(), values[1])


def trained_from(out):
    _, toy = restored(out)
    with states(out) as saving:
        toy.step()
        saving.save(toy.parts(), step=2, counters={})


def save_twice(out):
    toy = Toy()
    toy.step()
    with states(out) as saving:
        saving.save(toy.parts(), step=1, counters={})  # fails meanwhile
        saving.save(toy.parts(), step=2, counters={})
        raise AssertionError("nobody told")


def test_a_state_that_was_not_saved_is_told_at_the_next_save(out):
    out.write("state", b"a file where a folder should be")
    with pytest.raises(ValueError, match="expected a folder that can be written to"):
        save_twice(out)


def test_in_a_store(remote):
    values = trained(remote, 3)
    state, toy = restored(remote)
    assert state.step == 3
    assert equal(toy.values(), values[3])
    (remote / "state" / "step-00000003").remove("__0_0.distcp")
    assert restored(remote)[0].step == 2
    assert (remote / "state").names() == ["step-00000002"]


def on_ranks(ranks, out):
    """Read what one rank wrote, go on sharded, save; then go on while the save is written."""
    state, toy = restored(out, ranks=ranks, sharded=True)
    first = toy.values()
    with states(out, ranks=ranks) as saving:
        toy.step()
        saved = toy.values()
        saving.save(toy.parts(), step=state.step + 1, counters={"replaced": 9})
        for _ in range(3):
            toy.step()
    if ranks.rank == 1:  # its share alone is damaged: all have to agree
        file = f"{out.url}/state/step-{state.step + 1:08d}/__1_0.distcp"
        os.truncate(file, 100)
    ranks.barrier()
    again, older = restored(out, ranks=ranks)
    return state.step, first, saved, again.step, older.values()


@pytest.mark.parametrize("world", [2, 3])
def test_other_ranks_and_shards_read_it(out, tmp_path, world):
    values = trained(out, 2)
    for step, first, _saved, again, older in run_ranks(on_ranks, world, tmp_path, out):
        assert step == again == 2
        assert equal(first, values[2])
        assert equal(older, values[2])


def shard_and_save(ranks, out):
    toy = Toy(ranks=ranks, sharded=True)
    with states(out, ranks=ranks) as saving:
        toy.step()
        saving.save(toy.parts(), step=1, counters={})
    return toy.values()


def test_one_process_reads_what_shards_wrote(out, tmp_path):
    values, _ = run_ranks(shard_and_save, 2, tmp_path, out)
    assert len([n for n in (out / "state" / "step-00000001").files() if "distcp" in n]) == 2
    state, toy = restored(out)
    assert state.ranks == 2
    assert equal(toy.values(), values)
