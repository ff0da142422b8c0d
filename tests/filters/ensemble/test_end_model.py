"""An end model finds a planted function of columns, at the optimum of its own objective."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import spearmanr

from filters.ensemble.end_model import (
    EndModelSettings,
    fit_end_model,
    load_end_model,
    soft_labels,
)

ROWS = 3000
WEIGHT = {"alignment": [1.5], "words": [-0.8], "vector": [2.0, 0.0, -1.0, 0.5]}


def planted(rows=ROWS, *, seed=0):
    """Return columns and the p(keep) that is a linear function of them."""
    rng = np.random.default_rng(seed)
    vector = rng.normal(size=(rows, 4)).astype(np.float16)
    columns = {
        "alignment": rng.normal(0.3, 0.1, rows).astype(np.float32),
        "words": rng.uniform(0, 1, rows),
        "vector": vector,
    }
    z = np.full(rows, 0.4)
    for name, weight in WEIGHT.items():
        value = np.asarray(columns[name], float).reshape(rows, -1)
        value = value - value.mean(axis=0)
        z += value / np.sqrt((value**2).sum(axis=1).mean()) @ np.array(weight)
    return columns, expit(z)


def divergence(target, p):
    return np.mean(target * np.log(target / p) + (1 - target) * np.log((1 - target) / (1 - p)))


def test_a_planted_linear_function_is_recovered():
    columns, p_keep = planted()
    model = fit_end_model(columns, p_keep, l2=1e-9)
    assert model.columns == tuple(columns)
    assert model.bias == pytest.approx(0.4, abs=1e-3)
    for block in model.blocks:
        assert block.weight == pytest.approx(WEIGHT[block.column], abs=1e-3)
    assert model.told["divergence"] == pytest.approx(0.0, abs=1e-8)
    fresh, truth = planted(seed=1)
    assert model.predict(fresh) == pytest.approx(truth, abs=0.1)  # scaled by the fitted rows


def test_the_optimum_is_that_of_the_objective_written_out():
    columns, p_keep = planted(200)
    rng = np.random.default_rng(5)
    target = np.clip(p_keep + rng.normal(0, 0.2, len(p_keep)), 0.01, 0.99)
    l2 = 0.03
    features = []
    for value in columns.values():
        wide = np.asarray(value, float).reshape(len(target), -1)
        wide = wide - wide.mean(axis=0)
        features.append(wide / np.sqrt((wide**2).sum(axis=1).mean()))
    x = np.concatenate(features, axis=1)

    def objective(w):
        return divergence(target, expit(x @ w[:-1] + w[-1])) + l2 / 2 * w[:-1] @ w[:-1]

    options = {"maxiter": 40_000, "maxfev": 40_000, "xatol": 1e-8, "fatol": 1e-13}
    brute = minimize(objective, np.zeros(x.shape[1] + 1), method="Nelder-Mead", options=options)
    model = fit_end_model(columns, target, l2=l2)
    weight = [w for block in model.blocks for w in block.weight]
    assert [*weight, model.bias] == pytest.approx(brute.x, abs=1e-4)
    told = model.told["divergence"] + l2 / 2 * np.square(weight).sum()
    assert told == pytest.approx(objective(brute.x), abs=1e-9)


def test_a_group_without_a_penalty_gets_the_mean_of_its_soft_labels():
    group = np.repeat([0.0, 1.0], 500)
    target = np.where(group == 1, np.tile([0.9, 0.5], 500), np.tile([0.1, 0.4], 500))
    model = fit_end_model({"group": group}, target, l2=1e-12)
    closed = model.predict({"group": np.array([0.0, 1.0])})
    assert closed == pytest.approx([0.25, 0.7], abs=1e-6)  # no argmax: that would be 0 and 1
    assert model.told["divergence"] == pytest.approx(
        divergence(target, np.where(group == 1, 0.7, 0.25)), abs=1e-9
    )


def test_rows_on_which_every_rule_abstains_are_ranked_by_their_columns():
    columns, p_keep = planted()
    rng = np.random.default_rng(2)
    votes = np.where(rng.random((ROWS, 3)) < p_keep[:, None], 1, 0).astype(np.int8)
    votes[rng.random((ROWS, 3)) < 0.3] = -1
    silent = rng.random(ROWS) < 0.4
    votes[silent] = -1
    voted = (votes >= 0).any(axis=1)
    says = np.clip((votes == 1).sum(axis=1) / np.maximum((votes >= 0).sum(axis=1), 1), 0.05, 0.95)
    soft = soft_labels(np.where(voted, says, 0.6), votes, [False] * 3)
    assert np.isnan(soft[~voted]).all()
    assert not np.isnan(soft[voted]).any()
    known = {name: value[voted] for name, value in columns.items()}
    model = fit_end_model(known, soft[voted], l2=1e-3)
    unseen = model.predict({name: value[silent] for name, value in columns.items()})
    assert spearmanr(unseen, p_keep[silent]).statistic > 0.98


def test_a_veto_is_learned_as_a_zero():
    votes = np.array([[1, 0], [1, 1], [0, 1], [-1, -1], [1, -1]], np.int8)
    soft = soft_labels(np.array([0.7, 0.9, 0.4, 0.6, 0.8]), votes, [False, True])
    np.testing.assert_array_equal(soft, [0.0, 0.9, 0.4, np.nan, 0.8])


def test_a_null_is_neither_a_zero_nor_a_mean():
    rng = np.random.default_rng(3)
    score = rng.normal(5.0, 1.0, ROWS)
    vector = rng.normal(size=(ROWS, 3)).astype(np.float16)
    p_keep = expit(score - 5.0)
    score[:600], p_keep[:600] = np.nan, 0.1  # what has no score is bad
    vector[300:900] = np.nan
    model = fit_end_model({"score": score, "vector": vector}, p_keep, l2=1e-6)
    assert model.predict({"score": score[:3], "vector": vector[:3]}) == pytest.approx(
        [0.1] * 3, abs=0.02
    )
    best = model.predict({"score": np.array([8.0, 5.0]), "vector": np.full((2, 3), np.nan)})
    assert best == pytest.approx(expit(np.array([3.0, 0.0])), abs=0.05)


def test_a_column_of_nulls_and_one_that_is_constant_say_nothing():
    columns, p_keep = planted()
    model = fit_end_model(columns, p_keep, l2=1e-3)
    idle = {"empty": np.full(ROWS, np.nan), "constant": np.full(ROWS, 7.0)}
    with_idle = fit_end_model({**columns, **idle}, p_keep, l2=1e-3)
    p = model.predict(columns)
    assert with_idle.predict({**columns, **idle}) == pytest.approx(p, abs=1e-3)


def test_outliers_count_as_five_deviations():
    columns, p_keep = planted()
    model = fit_end_model(columns, p_keep, l2=1e-6)
    alignment = model.blocks[0]
    for sign in (1, -1):
        edge = np.full(ROWS, alignment.mean[0] + sign * 5 * alignment.scale)
        far = model.predict({**columns, "alignment": np.full(ROWS, sign * 1e30)})
        assert far == pytest.approx(model.predict({**columns, "alignment": edge}), rel=1e-9)


def test_bits_depend_on_a_row_and_not_on_its_neighbours():
    columns, p_keep = planted()
    columns["vector"] = np.tile(columns["vector"], (1, 33))[:, :129]  # no multiple of any lane
    model = fit_end_model(columns, p_keep, l2=1e-3)
    whole = model.predict(columns)
    order = np.random.default_rng(0).permutation(ROWS)
    np.testing.assert_array_equal(
        model.predict({n: v[order] for n, v in columns.items()}), whole[order]
    )
    for cut in (1, 2, 7, 999):
        parts = [
            model.predict({n: v[at : at + cut] for n, v in columns.items()})
            for at in range(0, 40 * cut, cut)
        ]
        joined = np.concatenate(parts)
        np.testing.assert_array_equal(joined, whole[: len(joined)])


def test_the_order_of_rows_moves_a_fit_by_rounding_alone_and_it_is_read_back_exactly():
    columns, p_keep = planted()
    model = fit_end_model(columns, p_keep, l2=1e-3)
    assert fit_end_model(columns, p_keep, l2=1e-3) == model
    order = np.random.default_rng(1).permutation(ROWS)
    other = fit_end_model({n: v[order] for n, v in columns.items()}, p_keep[order], l2=1e-3)
    assert other.predict(columns) == pytest.approx(model.predict(columns), abs=1e-5)
    assert load_end_model(model.to_json()) == model


def test_nothing_is_better_than_the_best_allowed():
    columns, p_keep = planted()
    free = fit_end_model(columns, p_keep, l2=1e-3).predict(columns)
    limited = fit_end_model(columns, p_keep, l2=1e-3, most=0.8).predict(columns)
    assert (free > 0.8).any()
    np.testing.assert_array_equal(limited, np.minimum(free, 0.8))


def test_an_infinite_value_is_as_none_and_touches_no_other_row():
    x = np.random.default_rng(0).normal(size=50)
    columns = {}
    for name, value in (("null", np.nan), ("above", np.inf), ("below", -np.inf)):
        columns[name] = np.where(np.arange(50) == 3, value, x)
    p = [
        fit_end_model({"x": value}, np.clip(x, 0, 1), l2=1e-3).predict({"x": value})
        for value in columns.values()
    ]
    assert np.isfinite(p).all()
    assert p[0].tolist() == p[1].tolist() == p[2].tolist()


def test_what_cannot_be_done_is_refused():
    with pytest.raises(ValueError, match="got 0 targets"):
        fit_end_model({"x": np.zeros(0)}, np.zeros(0), l2=1.0)
    with pytest.raises(ValueError, match="from 0 to 1"):
        fit_end_model({"x": np.zeros(2)}, np.array([0.5, np.nan]), l2=1.0)
    with pytest.raises(ValueError, match="expected both above 0"):
        EndModelSettings(l2=0.0)
    with pytest.raises(ValueError, match="1 is no limit"):
        EndModelSettings(most=0.0)
    with pytest.raises(ValueError, match="each once"):
        EndModelSettings(columns=("alignment", "alignment"))
    with pytest.raises(ValueError, match="JSON that a run wrote"):
        load_end_model('{"form": "Bayes"}')
