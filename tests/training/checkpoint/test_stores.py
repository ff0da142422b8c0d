"""Training into a store: the same bytes as on a disk, stopped in the middle or not."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from pipeline.folder import Folder
from tests.stopping import Stopped, stop_at
from training.config import Distill, Log, Save, Towers, Train
from training.distill import distill
from training.evaluation.evaluate import evaluate
from training.loop import train
from training.models.build import build_model, load_model

STATE = [f"step-00000006/{name}" for name in (".metadata", "__0_0.distcp", "state.json")]
WEIGHTS, SUMMARY = "open_clip_model.safetensors", "train.json"


@pytest.fixture(scope="module")
def short(tiny_model):
    """Eight steps, a state every third."""
    return Train(
        model=tiny_model,
        towers=Towers(lock_text=False),
        samples_seen=8 * 16,
        batch_size=16,
        save=Save(every=3, keep=1),
        log=Log(every=2),
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path / "cache"))


def same(a, b):
    return a.files() == b.files() and all(a.read(name) == b.read(name) for name in a.files())


def steps(out):
    return [json.loads(line)["step"] for line in out.read("metrics.jsonl").splitlines()]


def copied(path, folder):
    folder.upload(Path(path), Path(path).name)
    return folder.path(Path(path).name)


def test_stopped_and_resumed_on_a_store_equals_uninterrupted_on_a_disk(
    toy_pairs, short, out, remote
):
    pairs = toy_pairs(40, seed=3, corrupt=(7,))
    whole = train(short, pairs, out=out, seed=5)
    with pytest.raises(Stopped):
        train(short, pairs, out=remote, seed=5, on_step=stop_at(5))
    assert (remote / "state").names() == ["step-00000003"]
    assert steps(remote) == [2, 4]
    seen = []
    resumed = train(short, pairs, out=remote, seed=5, on_step=seen.append)
    assert [entry["step"] for entry in seen] == [4, 5, 6, 7, 8]
    assert same(whole, resumed)
    assert steps(remote) == steps(out) == [2, 4, 6, 8]
    assert (remote / "state").files() == (out / "state").files() == STATE


def test_the_log_is_published_with_every_state_and_never_behind_it(toy_pairs, short, remote):
    published = {}

    def look(entry):  # sees the folder as it was left by the step before
        published[entry["step"] - 1] = steps(remote) if remote.exists("metrics.jsonl") else []

    train(short, toy_pairs(40, seed=3), out=remote, seed=5, on_step=look)
    assert published == {0: [], 1: [], 2: [], 3: [2], 4: [2], 5: [2], 6: [2, 4, 6], 7: [2, 4, 6]}
    assert steps(remote) == [2, 4, 6, 8]


def test_a_checkpoint_is_finished_once_its_last_file_is_there(toy_pairs, short, out, remote):
    pairs = toy_pairs(40, seed=3)
    whole = train(short, pairs, out=out, seed=5)
    cut = train(short, pairs, out=remote, seed=5)
    cut.remove(SUMMARY)
    seen = []
    again = train(short, pairs, out=remote, seed=5, on_step=seen.append)
    assert [entry["step"] for entry in seen] == [7, 8]
    assert same(whole, again)
    gone = dataclasses.replace(pairs, shards=("memory://nowhere/00000.tar",))
    assert train(short, gone, out=remote, seed=5) == again


def test_another_run_in_the_same_store_is_refused(toy_pairs, short, remote):
    pairs = toy_pairs(40, seed=3)
    with pytest.raises(Stopped):
        train(short, pairs, out=remote, seed=5, on_step=stop_at(5))
    with pytest.raises(ValueError, match=f"{remote.url} holds a run with"):
        train(short, pairs, out=remote, seed=6)
    train(short, pairs, out=remote, seed=5)
    with pytest.raises(ValueError, match=f"{remote.url} holds a run with"):
        train(short, pairs, out=remote, seed=6)


def test_shards_model_teacher_and_student_on_a_store(
    toy_pairs, short, tiny_model, out, remote, cache
):
    """Everything by URL: the same names, weights and metrics as by path."""
    pairs = toy_pairs(40, seed=3)
    moved = dataclasses.replace(pairs, shards=(copied(pairs.shards[0], remote / "shards"),))
    document = copied(tiny_model, remote / "models")
    found = {}
    for folder, model, given in ((out, tiny_model, pairs), (remote, document, moved)):
        teacher = train(
            dataclasses.replace(short, model=model), given, out=folder / "teacher", seed=5
        )
        cfg = Distill(model=model, samples_seen=64, batch_size=16, save=Save(every=2))
        student = distill(cfg, teacher, given, out=folder / "student", seed=7)
        records = evaluate(student, given, tasks=("zeroshot:shape", "retrieval"))
        found[folder.url] = teacher, student, records
    (teacher, student, records), (teacher_there, student_there, records_there) = found.values()
    assert same(teacher, teacher_there)
    assert same(student, student_there)
    assert records == records_there


def test_a_model_starts_from_a_checkpoint_or_weights_by_url(toy_pairs, short, remote, cache):
    checkpoint = train(short, toy_pairs(40, seed=3), out=remote, seed=5)
    trained = load_model(checkpoint)[0].state_dict()
    remote.write("model.json", json.dumps(load_model(checkpoint)[1]).encode())
    for name, pretrained in (
        (remote.path("model.json"), checkpoint.path(WEIGHTS)),
        (f"local-dir:{checkpoint.url}", ""),
    ):
        built = build_model(name, pretrained=pretrained, seed=0)[0].state_dict()
        assert built.keys() == trained.keys()
        assert all(torch.equal(built[k], trained[k]) for k in trained)


def test_a_model_that_changed_where_it_lies_is_fetched_again(tiny_model, remote, cache):
    def width():
        return build_model(remote.path("model.json"), seed=0)[1]["embed_dim"]

    document = json.loads(Path(tiny_model).read_text())
    remote.write("model.json", json.dumps(document).encode())
    assert width() == document["embed_dim"]
    remote.write("model.json", json.dumps({**document, "embed_dim": 48}).encode())
    assert width() == 48


def test_what_is_not_there_is_named_by_its_url(toy_pairs, short, remote, cache):
    with pytest.raises(ValueError, match=rf"got {remote.url}/no\.json, which is no file"):
        build_model(remote.path("no.json"), seed=0)
    with pytest.raises(ValueError, match=rf"got {remote.url}/no, expected a folder with open_clip"):
        evaluate(remote / "no", toy_pairs(30, seed=4), tasks=("retrieval",))
    cfg = Distill(model=short.model, samples_seen=64, batch_size=16)
    with pytest.raises(ValueError, match=rf"teacher: got {remote.url}/no, expected a checkpoint"):
        distill(cfg, remote / "no", toy_pairs(30, seed=4), out=Folder(remote.url), seed=0)
