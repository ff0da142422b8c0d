"""Heads and mixtures: formulas by hand, files as others write them, and files that are refused."""

import json
import pickle

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from scipy.optimize import lsq_linear

from filters.derive import AnyDerive, Combine, Head
from filters.derive.combine import fit_mixture


def embeddings(rows, dim, *, seed=0):
    found = np.random.default_rng(seed).normal(size=(rows, dim))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def applied(place, embedding, **settings):
    head = Head(name="taste", column="image_embedding", file=str(place), **settings)
    (name,) = head.weights
    return head.load({name: place}, None)({"image_embedding": embedding})["taste"]


def test_a_linear_head_as_laion_publishes_them(tmp_path):
    linear, place = torch.nn.Linear(12, 1), tmp_path / "a.safetensors"
    save_torch(linear.state_dict(), place)
    x = embeddings(40, 12)
    expected = linear(torch.from_numpy(x).float())[:, 0].detach().numpy()
    np.testing.assert_allclose(applied(place, x), expected, rtol=1e-5, atol=1e-6)
    probability = applied(place, x, output="sigmoid")
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-expected)), rtol=1e-5, atol=1e-6)
    assert probability.dtype == np.float32


@pytest.mark.parametrize("activation", ["relu", "none"])
def test_layers_are_those_of_torch_with_gaps_in_their_numbers(tmp_path, activation):
    between = torch.nn.ReLU() if activation == "relu" else torch.nn.Identity()
    parts = [torch.nn.Linear(12, 7), between, torch.nn.Linear(7, 5), between, torch.nn.Linear(5, 1)]
    model, place = torch.nn.Sequential(*parts), tmp_path / "mlp.safetensors"
    tensors = {f"layers.{k}": v for k, v in model.state_dict().items()}  # 0, 2, 4
    save_torch(tensors, place, metadata={"output": "sigmoid", "activation": activation})
    x = embeddings(30, 12)
    expected = torch.sigmoid(model(torch.from_numpy(x).float()))[:, 0].detach().numpy()
    np.testing.assert_allclose(applied(place, x), expected, rtol=1e-4)
    assert (applied(place, x, output="linear") != applied(place, x)).all()


def test_stage_weights_weigh_the_blocks(tmp_path):
    dims, logits = np.array([2, 3, 4]), np.array([0.3, -1.0, 2.0], np.float32)
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(1, 9)).astype(np.float32), np.float32([0.5])
    tensors = {"stage.weights": logits, "stage.dims": dims, "weight": weight, "bias": bias}
    save_file(tensors, tmp_path / "s.safetensors")
    x = embeddings(20, 9)
    share = np.exp(logits) / np.exp(logits).sum()
    blocks = zip(share, np.split(x.astype(float), [2, 5], axis=1),
                 np.split(weight[0], [2, 5]), strict=True)  # fmt: skip
    expected = sum(p * block @ w for p, block, w in blocks) + 0.5
    np.testing.assert_allclose(applied(tmp_path / "s.safetensors", x), expected, rtol=1e-4)


def test_a_null_embedding_gives_nan_and_rows_do_not_depend_on_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("filters.derive.network.ROWS_AT_ONCE", 8)
    save_file({"weight": np.ones(6, np.float32)}, tmp_path / "h.safetensors")
    x = embeddings(21, 6)
    x[[3, 20]] = 0
    found = applied(tmp_path / "h.safetensors", x)
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 20]
    keep = np.setdiff1d(np.arange(21), [3, 20])
    np.testing.assert_allclose(found[keep], x[keep].astype(float).sum(1), atol=1e-5)
    assert applied(tmp_path / "h.safetensors", x[:0]).shape == (0,)


ONE = np.ones((1, 4), np.float32)


@pytest.mark.parametrize(
    ("tensors", "about", "message"),
    [
        ({"weight": ONE}, {"output": "softmax"}, "output 'softmax' in its metadata"),
        ({"weight": np.ones((3, 4), np.float32)}, {}, "got 3 outputs of layers.0, expected 1"),
        ({"layers.0.weight": np.ones((3, 4), np.float32), "layers.1.weight": ONE}, {},
         r"layers.1.weight \[1, 4\] and bias \[1\], expected \[H, 3\]"),
        ({"weight": ONE, "bias": np.ones(2, np.float32)}, {}, r"bias \[2\], expected \[H, 4\]"),
        ({"weight": ONE, "running_mean": ONE}, {}, "the tensor 'running_mean'"),
        ({"bias": ONE}, {}, "got bias, expected layers.0.weight or weight"),
        ({"weight": ONE * np.nan}, {}, "infinite or NaN"),
        ({"weight": ONE, "stage.weights": np.zeros(2, np.float32)}, {}, "got 2 stage.weights"),
        ({"weight": ONE, "stage.weights": np.zeros(2, np.float32),
          "stage.dims": np.array([2, 3])}, {}, r"stage.dims \[2, 3\].*the 4 columns"),
        ({"weight": np.ones((1, 5), np.float32)}, {}, "expected an embedding of 5 dimensions"),
    ],
)  # fmt: skip
def test_a_head_that_does_not_fit_is_refused(tmp_path, tensors, about, message):
    save_file(tensors, tmp_path / "h.safetensors", metadata=about)
    with pytest.raises(ValueError, match=message):
        applied(tmp_path / "h.safetensors", embeddings(2, 4))


def test_a_pickle_is_not_opened(tmp_path):
    with pytest.raises(ValueError, match=r"head\.pt.*expected a \.safetensors file"):
        Head(name="x", column="image_embedding", file="head.pt")
    disguised = tmp_path / "h.safetensors"
    disguised.write_bytes(pickle.dumps({"weight": ONE}))
    with pytest.raises(ValueError, match=r"pickles .* are not opened"):
        applied(disguised, embeddings(2, 4))
    with pytest.raises(ValueError, match="got name 'two words'"):
        Head(name="two words", column="c", file="a.safetensors")


def test_a_config_may_have_several_heads_and_a_mixture():
    tables = [
        {"kind": "head", "name": "a", "column": "image_embedding", "file": "a.safetensors"},
        {"kind": "head", "name": "b", "column": "stage_embedding", "file": "b.safetensors"},
        {"kind": "combine", "name": "c", "scores": ["a", "b"], "file": "c.json"},
    ]
    found = TypeAdapter(list[AnyDerive]).validate_json(json.dumps(tables))
    assert [type(d) for d in found] == [Head, Head, Combine]
    assert [(d.reads, [c.name for c in d.columns]) for d in found] == [
        (("image_embedding",), ["a"]), (("stage_embedding",), ["b"]), (("a", "b"), ["c"]),
    ]  # fmt: skip


def planted_scores(rows=400, *, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.random((rows, 4))
    return scores, scores @ [0.7, 0.0, 0.2, 0.0] + 0.1 - 0.3 * scores[:, 3] * (rng.random(rows) < 1)


def test_a_mixture_finds_planted_weights_and_keeps_none_below_zero():
    rng = np.random.default_rng(0)
    scores = rng.random((300, 3))
    exact = fit_mixture(scores, scores @ [0.7, 0.0, 0.2] + 0.1, names=("a", "b", "c"))
    assert list(exact.weights.values()) == pytest.approx([0.7, 0, 0.2], abs=1e-12)
    assert exact.bias == pytest.approx(0.1)


def test_a_mixture_is_the_constrained_optimum():
    scores, target = planted_scores()
    found = fit_mixture(scores, target, names=tuple("abcd"))
    weight = np.array(list(found.weights.values()))
    residual = scores @ weight + found.bias - target
    gradient = scores.T @ residual / len(target)
    assert weight[3] == 0  # its true share is negative
    assert weight.min() >= 0
    assert residual.mean() == pytest.approx(0, abs=1e-12)
    assert np.abs(gradient[weight > 0]).max() < 1e-12  # Karush, Kuhn, Tucker
    assert gradient[weight == 0].min() > 0
    free = np.column_stack([scores, np.ones(len(target))])
    other = lsq_linear(free, target, bounds=([0] * 4 + [-np.inf], np.inf), tol=1e-14)
    assert [*weight, found.bias] == pytest.approx(other.x, abs=1e-6)


def test_a_mixture_is_applied_from_its_file_and_a_null_makes_a_null(tmp_path):
    scores, target = planted_scores()
    mixture, place = fit_mixture(scores, target, names=tuple("abcd")), tmp_path / "m.json"
    place.write_text(mixture.to_json())
    combine = Combine(name="unsafe", scores=tuple("badc"), file=str(place))
    columns = {n: scores[:, i].astype(np.float32) for i, n in enumerate("abcd")}
    columns["d"][5] = np.nan
    found = combine.load({str(place): place}, None)(columns)["unsafe"]
    expected = scores @ list(mixture.weights.values()) + mixture.bias
    assert np.flatnonzero(np.isnan(found)).tolist() == [5]
    np.testing.assert_allclose(np.delete(found, 5), np.delete(expected, 5), rtol=1e-5)


def test_a_mixture_that_does_not_fit_is_refused(tmp_path):
    place = tmp_path / "m.json"
    combine = Combine(name="unsafe", scores=("a", "b"), file=str(place))
    for text, message in [
        ('{"weights": {"a": 1, "c": 1}, "bias": 0}', "got scores a, b, expected a, c"),
        ('{"weights": [1, 2], "bias": 0}', "expected JSON such as"),
        ('{"weights": {"a": NaN, "b": 1}, "bias": 0}', "NaN or infinity"),
    ]:
        place.write_text(text)
        with pytest.raises(ValueError, match=message):
            combine.load({str(place): place}, None)
    with pytest.raises(ValueError, match=r"got 2 labelled rows .* label more pairs"):
        fit_mixture(np.ones((2, 2)), np.ones(2), names=("a", "b"))
    with pytest.raises(ValueError, match=r"expected a \.json file"):
        Combine(name="unsafe", scores=("a",), file="x.pkl")
