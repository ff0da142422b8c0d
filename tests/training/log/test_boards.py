"""What boards would show of a run that was stopped and resumed, read back from what they read."""

import dataclasses
import sys
import types

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.folder import Folder
from training.config import Log, Train
from training.log.journal import open_sinks
from training.parallel.ranks import ALONE, Ranks

CFG = Train(model="m.json", batch_size=4, samples_seen=40)
ON_TENSORBOARD = dataclasses.replace(CFG, log=Log(tensorboard=True))
ON_WANDB = dataclasses.replace(CFG, log=Log(wandb="shapes"))


def tell(cfg, out, first, last, *, factor=1.0):
    """Be one process of a run: write steps from `first`, exclusive, to `last`."""
    sinks = open_sinks(cfg, out, identity="f00d", done=first, ranks=ALONE)
    for step in range(first + 1, last + 1):
        for sink in sinks:
            sink.write({"step": step, "steps": 9, "samples_seen": 4 * step, "loss": factor * step})
            if step % 2 == 0:
                sink.write({"step": step, "eval/retrieval/main_metric": step / 10})
    for sink in sinks:
        sink.publish()
    return sinks


def shown(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


def test_tensorboard_shows_every_step_of_a_resumed_run_once(out, tmp_path):
    tell(ON_TENSORBOARD, out, 0, 5, factor=7.0)  # killed here: never closed, state after step 3
    for sink in tell(ON_TENSORBOARD, out, 3, 9):
        sink.close(failed=False)
    scalars = shown(tmp_path / "out" / "tensorboard")
    assert scalars.keys() == {"train/loss", "eval/retrieval/main_metric"}
    assert scalars["train/loss"] == [(s, 7.0 * s if s <= 3 else s) for s in range(1, 10)]
    found = scalars["eval/retrieval/main_metric"]
    assert [step for step, _ in found] == [2, 4, 6, 8]


def test_event_files_are_copied_to_a_store(remote, tmp_path):
    first = tell(ON_TENSORBOARD, remote, 0, 4)
    for sink in tell(ON_TENSORBOARD, remote, 4, 6):
        sink.close(failed=False)
    copy = tmp_path / "copy"
    copy.mkdir()
    folder = remote / "tensorboard"
    assert len(folder.files()) == 2
    for name in folder.files():
        (copy / name).write_bytes(folder.read(name))
    assert [step for step, _ in shown(copy)["train/loss"]] == [1, 2, 3, 4, 5, 6]
    for sink in first:
        sink.close(failed=True)


class Recorder(types.ModuleType):
    """Stands in for the client module at the border: takes down what it is called with."""

    def __init__(self):
        super().__init__("wandb")
        self.calls = []

    def init(self, **settings):
        self.calls.append(("init", settings))
        return self

    def log(self, values, *, step):
        self.calls.append(("log", step, values))

    def finish(self, *, exit_code):
        self.calls.append(("finish", exit_code))


@pytest.fixture
def recorder(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where a login would have left a key
    monkeypatch.setitem(sys.modules, "wandb", Recorder())
    return sys.modules["wandb"]


def test_a_resumed_run_goes_on_under_the_same_id(recorder, out, monkeypatch):
    for sink in tell(ON_WANDB, out, 0, 1):
        sink.close(failed=True)
    begun, told, ended = recorder.calls
    assert begun[1] | {"config": 0} == {
        "project": "shapes", "id": "f00d", "name": "out", "resume": "allow", "dir": out.url,
        "mode": "offline", "config": 0,
    }  # fmt: skip
    assert begun[1]["config"]["optim"]["lr"] == CFG.optim.lr
    assert told == ("log", 1, {"train/loss": 1.0})
    assert ended == ("finish", 1)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    tell(ON_WANDB, out, 1, 2)
    assert [c[1]["id"] for c in recorder.calls if c[0] == "init"] == ["f00d", "f00d"]
    assert recorder.calls[3][1]["mode"] == "online"
    assert recorder.calls[-1] == ("log", 2, {"eval/retrieval/main_metric": 0.2})


def test_a_login_is_found_where_the_client_leaves_it(recorder, out, tmp_path):
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password 0\n")
    (tmp_path / ".netrc").chmod(0o600)
    tell(ON_WANDB, out, 0, 1)
    assert recorder.calls[0][1]["mode"] == "online"


@pytest.mark.parametrize(
    ("cfg", "module", "extra"),
    [(ON_WANDB, "wandb", "wandb"), (ON_TENSORBOARD, "tensorboard", "tensorboard")],
)
def test_a_board_that_is_not_installed_is_asked_for(monkeypatch, out, cfg, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ValueError, match=rf"log\.{extra}: .*install thresher\[{extra}\]"):
        open_sinks(cfg, out, identity="f00d", done=0, ranks=ALONE)


def test_other_ranks_write_nothing(tmp_path):
    out = Folder(str(tmp_path / "none"))
    assert open_sinks(ON_TENSORBOARD, out, identity="f00d", done=0, ranks=Ranks(1, 2)) == []
    assert not (tmp_path / "none").exists()
