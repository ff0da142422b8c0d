"""The losses of a step against dense float64 ones: values, and every gradient."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from filters.open_clip_models import ensure_torchvision
from tests.dense_losses import Problem, dense_loss, problem
from tests.ranks import run_ranks
from training.config import Loss, Parallel
from training.losses.pair import pair_loss
from training.losses.sigmoid import siglip_loss
from training.losses.softmax import clip_loss
from training.models.encoder import Features
from training.parallel.ranks import ALONE

PAIRS = 11  # shares of 4 ranks: 2, 3, 3, 3
LOSSES = {
    "siglip": Loss(kind="siglip"),
    "siglip weighted": Loss(kind="siglip", weight="p_keep"),
    "clip": Loss(kind="clip"),
    "clip weighted": Loss(kind="clip", weight="p_keep", picture_share=0.8),
    "clip smoothed": Loss(kind="clip", smoothing=0.1, picture_share=0.3),
    "rince": Loss(kind="clip", robust="rince", weight="p_keep"),
}
CHUNKS = (0, 1, 4)  # the last tiles of 4 are ragged


def _evaluate(loss, features: Features, weight_B) -> list[torch.Tensor]:
    """Return the loss and its gradients, 0 for what it does not depend on."""
    leaves = Features(*(feature.detach().requires_grad_() for feature in features))
    value = loss(leaves, weight_B)
    grads = torch.autograd.grad(value, list(leaves), allow_unused=True, materialize_grads=True)
    return [value.detach(), *grads]


def _whole(cfg: Loss, parallel: Parallel, given: Problem) -> list[torch.Tensor]:
    loss = pair_loss(cfg, parallel, ranks=ALONE, batch_size=len(given.weight_G))
    return _evaluate(loss, given.features, given.weight_G)


def _dense(cfg: Loss, given: Problem) -> list[torch.Tensor]:
    return _evaluate(lambda f, w: dense_loss(cfg, Problem(f, w)), given.features, given.weight_G)


def _assert_equal(got, expected, **tolerance) -> None:
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **(tolerance or {"rtol": 1e-9, "atol": 1e-12}))


@pytest.mark.parametrize("captions", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_one_rank_equals_the_dense_loss(name, captions):
    given = problem(PAIRS, captions, seed=1)
    expected = _dense(LOSSES[name], given)
    for chunk in CHUNKS:
        _assert_equal(_whole(LOSSES[name], Parallel(chunk=chunk), given), expected)


def _on_ranks(ranks, given: dict[int, Problem]):
    """Return, for all settings, this rank's loss and gradients."""
    rows, told = ranks.share(PAIRS), {}
    for name, captions, kind in _settings():
        features, weight_B = given[captions].features, given[captions].weight_G[rows]
        own = features._replace(
            image_BD=features.image_BD[rows],
            text_BD=features.text_BD[rows.start * captions : rows.stop * captions],
        )
        parallel = Parallel(exchange=kind, chunk=2)
        loss = pair_loss(LOSSES[name], parallel, ranks=ranks, batch_size=PAIRS)
        told[name, captions, kind] = _evaluate(loss, own, weight_B)
        with torch.no_grad():
            assert torch.equal(loss(own, weight_B), told[name, captions, kind][0])
    return told


def _settings():
    return product(LOSSES, (1, 3), ("gather", "ring"))


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_average_to_the_dense_loss(world, tmp_path):
    given = {captions: problem(PAIRS, captions, seed=2) for captions in (1, 3)}
    told = run_ranks(_on_ranks, world, tmp_path, given)
    expected = {(n, k): _dense(LOSSES[n], given[k]) for n, k in product(LOSSES, given)}
    for setting in _settings():
        value, image, text, scale, bias = zip(*(t[setting] for t in told), strict=True)
        mean = [torch.stack(v).mean(0) for v in (value, scale, bias)]
        got = [mean[0], torch.cat(image) / world, torch.cat(text) / world, *mean[1:]]
        _assert_equal(got, expected[setting[:2]])


def test_the_text_book_and_open_clip_say_the_same():
    ensure_torchvision()
    from open_clip.loss import ClipLoss, SigLipLoss

    given = problem(PAIRS, 1, seed=3)

    def ours(f, _):
        return clip_loss(f.image_BD, f.text_BD, scale=f.scale)

    def sigmoid(f, _):
        return siglip_loss(f.image_BD, f.text_BD, scale=f.scale, bias=f.bias)

    peers = {
        "clip": (ours, lambda f, _: ClipLoss()(f.image_BD, f.text_BD, f.scale)),
        "siglip": (sigmoid, lambda f, _: SigLipLoss()(*f)),
    }
    for kind, functions in peers.items():
        got = _whole(Loss(kind=kind), Parallel(chunk=4), given)
        for function in functions:
            _assert_equal(got, _evaluate(function, given.features, given.weight_G))


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_pairs_changes_nothing(name):
    given, order = problem(PAIRS, 1, seed=4), torch.randperm(PAIRS)
    features = given.features._replace(
        image_BD=given.features.image_BD[order], text_BD=given.features.text_BD[order]
    )
    value, image_BD, text_BD, *scalars = _whole(LOSSES[name], Parallel(chunk=4), given)
    shuffled = Problem(features, given.weight_G[order])
    expected = [value, image_BD[order], text_BD[order], *scalars]
    _assert_equal(_whole(LOSSES[name], Parallel(chunk=4), shuffled), expected)


def test_copies_of_a_caption_count_as_one():
    once = problem(PAIRS, 1, seed=5)
    thrice = Problem(
        once.features._replace(text_BD=once.features.text_BD.repeat_interleave(3, 0)), once.weight_G
    )
    for cfg in (LOSSES["siglip weighted"], Loss(kind="clip", picture_share=0.0)):
        one, three = _whole(cfg, Parallel(), once), _whole(cfg, Parallel(), thrice)
        three[2] = three[2].view(PAIRS, 3, -1).sum(1)
        _assert_equal(three, one)


def test_a_pair_of_no_weight_is_still_a_negative():
    given = problem(PAIRS, 1, seed=6)
    given.weight_G[4] = 0
    value, image_BD, *_ = _whole(LOSSES["clip weighted"], Parallel(), given)
    assert image_BD[4].abs().max() > 0
    twice = Problem(given.features, 2 * given.weight_G)
    torch.testing.assert_close(_whole(LOSSES["clip weighted"], Parallel(), twice)[0], value)


def test_no_weight_at_all_moves_nothing():
    given = problem(PAIRS, 1, seed=7)
    given.weight_G.zero_()
    for name in ("siglip weighted", "clip weighted", "rince"):
        for value in _whole(LOSSES[name], Parallel(), given):
            assert torch.equal(value, torch.zeros_like(value))


def test_rince_of_little_strength_is_the_softmax_loss():
    given = problem(PAIRS, 1, seed=8)
    weak = Loss(kind="clip", robust="rince", robust_q=1e-9, robust_density=1.0)
    expected = _whole(Loss(kind="clip"), Parallel(), given)
    _assert_equal(_whole(weak, Parallel(), given), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scale", [100.0, 1e4])
@pytest.mark.parametrize("name", LOSSES)
def test_float32_stays_finite_and_close(name, scale):
    given = problem(64, 1, seed=9, dim=16)
    given = replace(given, features=given.features._replace(scale=torch.tensor(scale).double()))
    single = replace(given, features=Features(*(f.detach().float() for f in given.features)))
    got = _whole(LOSSES[name], Parallel(chunk=24), single)
    assert all(value.isfinite().all() for value in got)
    if name != "rince":  # whose dense form overflows
        expected = [value.float() for value in _dense(LOSSES[name], given)]
        _assert_equal(got, expected, rtol=2e-3, atol=1e-3)


def test_a_frozen_tower_gets_no_gradient():
    image_BD, text_BD, scale, bias = problem(PAIRS, 1, seed=10).features
    weight_B = torch.ones(PAIRS)
    for name, cfg in LOSSES.items():
        loss = pair_loss(cfg, Parallel(chunk=4), ranks=ALONE, batch_size=PAIRS)
        both = torch.autograd.grad(
            loss(Features(image_BD, text_BD, scale, bias), weight_B), [image_BD, scale]
        )
        frozen = Features(image_BD, text_BD.detach(), scale, bias.detach())
        value = loss(frozen, weight_B)
        _assert_equal(torch.autograd.grad(value, [image_BD, scale]), both)
        still = Features(*(feature.detach() for feature in frozen))
        assert not loss(still, weight_B).requires_grad, name


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_kept_for_the_backward_pass_is_of_the_size_of_the_embeddings(name):
    features = Features(*(f.detach().float() for f in problem(1024, 1, seed=11, dim=32).features))
    features = Features(*(f.requires_grad_() for f in features))
    loss = pair_loss(LOSSES[name], Parallel(chunk=128), ranks=ALONE, batch_size=1024)
    kept: dict[int, int] = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss(features, torch.ones(1024))
    embeddings = 2 * features.image_BD.nbytes
    assert sum(kept.values()) < 3 * embeddings  # a matrix of logits would be 16 of them
    value.backward()
    assert features.image_BD.grad is not None


def test_fewer_pairs_than_ranks_are_refused():
    with pytest.raises(ValueError, match="batch_size: got 3 for 4 ranks, expected at least one"):
        pair_loss(Loss(), Parallel(), ranks=replace(ALONE, count=4), batch_size=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"picture_share": 0.7}, 'picture_share: got 0.7, expected 0.5 with kind = "siglip"'),
        ({"smoothing": 0.1}, 'smoothing: got 0.1, expected 0 with kind = "siglip"'),
        ({"robust": "rince"}, 'robust: got rince, expected "" with kind = "siglip"'),
        (
            {"kind": "clip", "robust": "rince", "smoothing": 0.1},
            'smoothing: got 0.1, expected 0 with robust = "rince"',
        ),
        ({"robust_density": 0.0}, r"robust_density: got 0.0, expected in \(0, 1\]"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Loss(**settings)
