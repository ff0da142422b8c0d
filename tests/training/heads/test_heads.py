"""Trained heads: planted truths, optima that other means confirm, and a file that says the same."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from threadpoolctl import threadpool_limits

from filters.derive import Head
from training.heads.fit import deal, fit_head
from training.heads.metrics import calibration_error, judge
from training.heads.problem import Problem, Scale, Shape

STAGES = (3, 4, 5)


def embeddings(rows, dim=12, *, seed=0):
    """Correlated, off centre, of unit norm: as real ones are."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(rows, dim)) @ rng.normal(size=(dim, dim)) + 0.5
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def planted(rows, *, seed=0, scale=6.0):
    x = embeddings(rows, seed=seed)
    truth = np.random.default_rng(99).normal(size=x.shape[1])
    logit = scale * (x.astype(float) @ truth - 0.4)
    return (
        x,
        truth,
        logit,
        (np.random.default_rng(seed + 1).random(rows) < 1 / (1 + np.exp(-logit))),
    )


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices: threads would only wait for each other."""
    with threadpool_limits(1):
        yield


def problem(x, y, task, shape=Shape()):  # noqa: B008 -- frozen
    return Problem.of(Scale.of(x, y, task), x, y, shape=shape)


def test_a_planted_linear_truth_is_recovered():
    x, truth, logit, label = planted(4000)
    head = fit_head(x, label.astype(float), shape=Shape(), seed=0)
    probability = head.network(x)
    assert np.corrcoef(head.tensors["layers.0.weight"][0], truth)[0, 1] > 0.97
    assert np.abs(probability - 1 / (1 + np.exp(-logit))).mean() < 0.03
    assert head.heldout["auc"] > roc_auc_score(label, logit) - 0.02
    assert head.heldout["calibration_error"] < 0.06
    exact = fit_head(x, x.astype(float) @ truth + 3, shape=Shape(), seed=0)
    np.testing.assert_allclose(exact.tensors["layers.0.weight"][0], truth, rtol=2e-3, atol=2e-3)
    assert exact.heldout["r2"] > 0.9999


@pytest.mark.parametrize("l2", [1.0, 1e-3])
def test_the_optimum_is_scikit_learn_s_and_its_gradient_is_zero(l2):
    x, _, _, label = planted(300)
    y = label.astype(float)
    found = problem(x, y, "logistic").fit(l2=l2, seed=0)
    z = x.astype(float)
    mean, deviation = z.mean(0), z.std(0)
    weight = found["layers.0.weight"][0].astype(float) * deviation
    bias = found["layers.0.bias"][0] + weight @ (mean / deviation)
    z = (z - mean) / deviation
    residual = 1 / (1 + np.exp(-(z @ weight + bias))) - y
    assert np.abs(z.T @ residual / len(y) + l2 * weight).max() < 1e-6
    assert abs(residual.mean()) < 1e-6
    other = LogisticRegression(C=1 / (len(y) * l2), tol=1e-10, max_iter=10_000).fit(z, y)
    np.testing.assert_allclose(weight, other.coef_[0], atol=1e-5)


def test_ridge_is_the_closed_form():
    x, truth, *_ = planted(200)
    y = x.astype(float) @ truth + np.random.default_rng(0).normal(size=200)
    found = problem(x, y, "ridge").fit(l2=0.1, seed=0)
    z = x.astype(float)
    mean, deviation = z.mean(0), z.std(0)
    other = Ridge(alpha=0.1 * len(y)).fit((z - mean) / deviation, y)
    weight = found["layers.0.weight"][0] * deviation
    np.testing.assert_allclose(weight, other.coef_, rtol=1e-4, atol=1e-5)
    assert found["layers.0.bias"][0] + weight @ (mean / deviation) == pytest.approx(y.mean(), 1e-5)


def informative(rows, seed=0):
    """Return embeddings of which one stage of three knows the label."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, sum(STAGES)))
    label = (x[:, 3:7] @ [2.0, -2, 1, 1] > 0).astype(float)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16), label


def test_weights_of_stages_go_where_the_knowledge_is():
    x, label = informative(600)
    head = fit_head(x, label, shape=Shape(stage_dims=STAGES), seed=0)
    assert np.argmax(head.stage_shares) == 1
    assert head.stage_shares[1] > 0.5
    assert head.heldout["auc"] > 0.98


def test_the_gradient_of_stage_weights_is_zero_at_the_end():
    x, label = informative(200)
    found = problem(x, label, "logistic", Shape(stage_dims=STAGES)).fit(l2=0.01, seed=0)
    z = torch.tensor(x.astype(float))
    mean, deviation = z.mean(0), z.std(0, correction=0)
    dims = torch.tensor(STAGES)
    stage = torch.tensor(found["stage.weights"].astype(float), requires_grad=True)
    file_weight = torch.tensor(found["layers.0.weight"][0].astype(float))
    weight = (file_weight * deviation / len(STAGES)).requires_grad_()
    share = (stage.softmax(0) * len(STAGES)).repeat_interleave(dims)
    centre = (file_weight * stage.softmax(0).repeat_interleave(dims)).detach() @ mean
    bias = (torch.tensor(float(found["layers.0.bias"][0])) + centre).requires_grad_()
    logit = (z - mean) / deviation @ (weight * share) + bias
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.tensor(label))
    (loss + 0.005 * (weight.square().sum() + stage.square().sum())).backward()
    assert max(p.grad.abs().max().item() for p in (weight, bias, stage)) < 1e-5


def test_a_hidden_layer_learns_what_a_linear_head_cannot():
    x = embeddings(600, 6)
    z = x.astype(float) - np.median(x.astype(float), axis=0)
    label = (z[:, 0] * z[:, 1] > 0).astype(float)
    linear = fit_head(x, label, shape=Shape(), seed=0)
    hidden = fit_head(x, label, shape=Shape(hidden=8), seed=0)
    assert linear.heldout["auc"] < 0.75
    assert hidden.heldout["auc"] > 0.9


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        ("logistic", Shape()),
        ("ridge", Shape(hidden=3)),
        ("logistic", Shape(hidden=2, stage_dims=STAGES)),
    ],
)
def test_the_file_predicts_what_the_trainer_does_and_is_the_same_again(tmp_path, shape, task):
    x, _, logit, label = planted(100)
    y = label.astype(float) if task == "logistic" else logit * 10 + 50
    fitted = problem(x, y, task, shape)
    theta = fitted.solve(l2=0.01, seed=0)
    head = fit_head(x, y, shape=shape, seed=0, about={"column": "image_embedding"})
    place = tmp_path / "h.safetensors"
    place.write_bytes(head.to_bytes())
    derive = Head(name="taste", column="image_embedding", file=str(place))
    found = derive.load({str(place): place}, None)({"image_embedding": x})["taste"]
    assert found.tobytes() == head.network(x).tobytes()
    again = fit_head(x, y, shape=shape, seed=0, about={"column": "image_embedding"})
    assert again.to_bytes() == place.read_bytes()
    # The trainer's own loss, in its own coordinates, from the tensors it would write.
    direct = type(head)(fitted.tensors(theta, l2=0.01), head.task, 0.01, {}, {}).network(x)
    if task == "ridge":
        loss = np.mean(((direct - y) / y.std()) ** 2) / 2
    else:
        loss = -np.mean(np.log(np.where(y == 1, direct, 1 - direct)))
    assert fitted.loss(theta, l2=0.01) == pytest.approx(loss, rel=1e-3)


def test_copies_share_a_fold_and_classes_are_spread():
    x, _, _, label = planted(100)
    fold = deal(np.concatenate([x, x[::-1]]), np.concatenate([label, label[::-1]]), folds=5)
    assert (fold[:100] == fold[100:][::-1]).all()
    shares = [label[fold[:100] == f].mean() for f in range(5)]
    assert max(shares) - min(shares) < 0.1


def test_too_few_of_a_class_are_refused():
    x = embeddings(40)
    label = np.zeros(40)
    label[:3] = 1
    with pytest.raises(ValueError, match="got 3 different pictures with a label 1, expected at le"):
        fit_head(x, label, shape=Shape(), seed=0)
    copies = np.repeat(x[:1], 40, axis=0)
    with pytest.raises(ValueError, match="got 1 different pictures"):
        fit_head(copies, np.arange(40.0), shape=Shape(), seed=0)


def test_metrics_are_scikit_learn_s():
    rng = np.random.default_rng(0)
    label, score = (rng.random(500) < 0.3).astype(float), rng.random(500).round(1)
    assert judge("logistic", score, label)["auc"] == pytest.approx(roc_auc_score(label, score))
    guess = label + rng.normal(size=500)
    assert judge("ridge", guess, label)["r2"] == pytest.approx(r2_score(label, guess))
    probability = np.repeat([0.05, 0.95], 100)
    right = np.concatenate([np.arange(100) < 25, np.arange(100) < 95]).astype(float)
    assert calibration_error(probability, right) == pytest.approx((0.2 + 0.0) / 2)
