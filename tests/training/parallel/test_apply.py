"""However a step is spread, it is the step that one process would take."""

import math

import pytest
import torch

from tests.ranks import run_ranks
from tests.training.parallel.towers import batches, build
from training.config import Optim
from training.parallel.apply import no_sync
from training.parallel.export import full_state_dict
from training.parallel.ranks import ALONE

TRICKS = Optim(lr=1e-2, warmup=0.0, grad_clip=0.5, adaptive_clip=0.02, average=0.9)
CASES = (
    ("vit", "fsdp", {"optim": TRICKS, "freeze": ("text.transformer", "visual.conv1")}),
    ("vit", "ddp", {"optim": TRICKS, "freeze": ("text.transformer",)}),
    ("test_convnext", "fsdp", {"micro_batch": 2}),
)


def _train(ranks, folder, image, kind, settings, *, batch_size=7):
    stepper = build(ranks, image, folder, batch_size=batch_size, kind=kind, **settings)
    log = [stepper(b, step=i) for i, b in enumerate(batches(batch_size, ranks))]
    weights = full_state_dict(stepper.objective.model)
    averages = {}
    if stepper.average is not None:
        with stepper.average.shown():
            averages |= full_state_dict(stepper.objective.model)
    return log, weights, averages


def _train_all(ranks, folder):
    cases = CASES if ranks.count < 4 else CASES[:2]
    return {case[:2]: _train(ranks, folder, *case) for case in cases}


def _rows(log):
    return torch.tensor([[entry["loss"], entry["grad_norm"]] for entry in log])


def _assert_same_weights(theirs, ours):
    assert list(theirs) == list(ours)
    for name, weight in ours.items():
        if not name.endswith("in_proj_bias"):
            torch.testing.assert_close(theirs[name], weight, atol=5e-5, rtol=1e-4, msg=name)
    # Attention does not depend on the biases of its keys: their gradients are rounding, which Adam
    # scales up to whole steps.


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return _train_all(ALONE, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_equal_one_process_with_uneven_shares(tmp_path, alone, world):
    """DDP and FSDP, frozen parts, one without a gradient, both clippings, the average."""
    per_rank = run_ranks(_train_all, world, tmp_path, tmp_path)
    for case in per_rank[0]:
        log, weights, averages = alone[case]
        for results in per_rank:  # every rank knows the whole batch's loss and norm
            assert results[case][0] == per_rank[0][case][0]
        torch.testing.assert_close(_rows(per_rank[0][case][0]), _rows(log), atol=1e-5, rtol=1e-4)
        _assert_same_weights(per_rank[0][case][1], weights)
        _assert_same_weights(per_rank[0][case][2], averages)


def _batch_norms(ranks, folder):
    """Train a tower with batch norms, then take a step that has to be left out."""
    optim = Optim(lr=1e-2, warmup=0.0, average=0.9)
    stepper = build(ranks, "test_resnet", folder, optim=optim)
    parts = batches(7, ranks)
    for i, part in enumerate(parts[:2]):
        stepper(part, step=i)
    before = _everything(stepper)
    if ranks.rank == 0:  # one rank's trouble is everyone's
        parts[2].weight_B[0] = math.nan
    skipped = stepper(parts[2], step=2)["skipped"]
    after = _everything(stepper)
    stepper(batches(7, ranks)[2], step=2)
    return before, after, skipped, _everything(stepper)


def _everything(stepper):
    model = {k: v.clone() for k, v in stepper.objective.model.state_dict().items()}
    optimizer = stepper.optimizer.state_dict()["state"]
    flat = {f"{i}.{k}": v.clone() for i, s in optimizer.items() for k, v in s.items()}
    average = stepper.average.state_dict()
    shown = {f"average.{k}": v.clone() for k, v in average["averages"].items()}
    return {**model, **flat, **shown, "updates": torch.tensor(average["updates"])}


def test_ranks_agree_on_batch_norms_and_skip_a_step_together(tmp_path):
    results = run_ranks(_batch_norms, 2, tmp_path, tmp_path)
    first = results[0]
    for before, after, skipped, last in results:
        assert skipped == 1
        for name, value in before.items():  # not a bit moved, running statistics included
            assert torch.equal(after[name], value), name
        for name, value in last.items():  # and the ranks are still one
            assert torch.equal(value, first[3][name]), name
        assert not torch.equal(
            last["visual.trunk.bn1.running_mean"], before["visual.trunk.bn1.running_mean"]
        )


def _accumulate(ranks, folder, kind):
    """Compare two unreduced passes and a reduced one with one pass over all of a rank's pairs."""
    grads = []
    for micro_batch in (0, 1):
        stepper = build(ranks, "vit", folder, batch_size=12, kind=kind, micro_batch=micro_batch)
        objective, batch = stepper.objective, batches(12, ranks)[0]
        size = len(batch) // 3 if micro_batch else len(batch)
        for _ in range(2):  # the second time, DDP has its buckets in their final order
            stepper.optimizer.zero_grad()
            for start in range(0, len(batch), size):
                part = batch.part(range(start, start + size))
                last = start + size == len(batch)
                with torch.no_grad():
                    objective.encode(part)  # as GradCache does first
                if last:
                    objective.loss(objective.encode(part), part).backward()
                else:
                    with no_sync(objective.encoder):
                        objective.loss(objective.encode(part), part).backward()
        weights = objective.model.named_parameters()
        found = {n: p.grad for n, p in weights if p.grad is not None}
        grads.append(
            {n: g.full_tensor() if hasattr(g, "full_tensor") else g for n, g in found.items()}
        )
    return grads


def _accumulate_both(ranks, folder):
    return {kind: _accumulate(ranks, folder, kind) for kind in ("ddp", "fsdp")}


def test_gradients_accumulate_without_reductions(tmp_path):
    for result in run_ranks(_accumulate_both, 2, tmp_path, tmp_path):
        for kind, (once, thrice) in result.items():
            assert "visual.conv1.weight" in once
            for name, grad in once.items():
                if kind == "fsdp" and grad.ndim == 0:
                    continue  # averaged by `synchronise`, after the last pass
                torch.testing.assert_close(thrice[name], grad, atol=1e-4, rtol=1e-3, msg=name)
