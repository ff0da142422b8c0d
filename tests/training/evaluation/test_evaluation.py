"""Metrics against rankings small enough to check by eye, and tasks against bad requests."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.folder import Folder
from pipeline.shards import write_shard
from training.config import Evaluate, Towers, Train
from training.evaluation.evaluate import evaluate
from training.evaluation.prompts import class_name, prompts_for
from training.evaluation.ranking import cosines, places, share_within
from training.evaluation.retrieval import retrieval_metrics
from training.evaluation.zeroshot import calibrated, classifier, probabilities, zero_shot_metrics
from training.loop import train
from training.trials import exam_of


def test_places_by_hand():
    candidates_CD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    query_QD = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    place_Q = places(
        query_QD,
        cosines(candidates_CD),
        query_label_Q=torch.tensor([0, 0, 1]),
        candidate_label_C=torch.arange(3),
    )
    assert place_Q.tolist() == [0, 2, 1]
    assert share_within(place_Q, 1) == pytest.approx(1 / 3)
    assert share_within(place_Q, 2) == pytest.approx(2 / 3)


def test_a_model_that_says_the_same_of_everything_scores_zero():
    same_ND = torch.ones(6, 4) / 2
    label_N = torch.tensor([0, 1, 2, 0, 1, 2])
    assert zero_shot_metrics(same_ND, same_ND[:3], label_N)["acc1"] == 0
    assert retrieval_metrics(same_ND, same_ND[:3], label_N)["mean_recall@1"] == 0


def test_a_model_that_says_nothing_at_all_scores_zero():
    nan_ND = torch.full((6, 4), torch.nan)
    label_N = torch.tensor([0, 1, 2, 0, 1, 2])
    assert zero_shot_metrics(nan_ND, nan_ND[:3], label_N)["acc1"] == 0
    assert retrieval_metrics(nan_ND, nan_ND[:3], label_N)["mean_recall@1"] == 0


@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_places_equal_a_sort(seed, classes, count):
    generator = torch.Generator().manual_seed(seed)
    image_ND = F.normalize(torch.randn(count, 6, generator=generator), dim=-1)
    class_CD = F.normalize(torch.randn(classes, 6, generator=generator), dim=-1)
    label_N = torch.randint(classes, (count,), generator=generator)
    metrics = zero_shot_metrics(image_ND, class_CD, label_N)
    order_NC = (image_ND @ class_CD.T).argsort(dim=1, descending=True)
    first = order_NC[:, 0] == label_N
    five = (order_NC[:, :5] == label_N[:, None]).any(dim=1)
    assert metrics["acc1"] == pytest.approx(first.double().mean().item())
    assert metrics["acc5"] == pytest.approx(five.double().mean().item())
    recalls = [first[label_N == c].double().mean() for c in label_N.unique()]
    assert metrics["mean_per_class_recall"] == pytest.approx(torch.stack(recalls).mean().item())


def unit(generator, *shape):
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def test_a_blank_picture_is_every_class_alike_exactly():
    """Among others, in any place, and for any number of classes: 1 / C to the last bit."""
    generator = torch.Generator().manual_seed(0)
    for classes in (2, 3, 7, 1000):
        class_CD, blank_D = unit(generator, classes, 48), unit(generator, 48)
        image_ND = torch.cat([unit(generator, 5, 48), blank_D[None], unit(generator, 3, 48)])
        p_NC = calibrated(image_ND, class_CD, blank_D)
        assert (p_NC[5] == 1 / classes).all()
        assert (p_NC[4] != 1 / classes).any()
        assert p_NC.sum(axis=1) == pytest.approx(1)


def test_calibrated_classes_by_hand():
    """Cosines 0.01 and 0 are p = e/(1 + e); the blank's 0.02 and 0 turn it: 1/(1 + e)."""
    class_CD = torch.eye(3)[:2]
    image_ND = torch.tensor([[0.01, 0.0, (1 - 0.01**2) ** 0.5]])
    blank_D = torch.tensor([0.02, 0.0, (1 - 0.02**2) ** 0.5])
    e = 2.718281828459045
    assert probabilities(image_ND, class_CD)[0, 0] == pytest.approx(e / (1 + e))
    assert calibrated(image_ND, class_CD, blank_D)[0, 0] == pytest.approx(1 / (1 + e), rel=1e-5)
    label_N = torch.tensor([1])
    assert zero_shot_metrics(image_ND, class_CD, label_N)["acc1"] == 0
    assert zero_shot_metrics(image_ND, class_CD, label_N, blank_D=blank_D)["acc1"] == 1


def test_pairs_with_the_same_caption_are_each_others_positives():
    """Pictures 0 and 1 share caption 0; either of them answers it, and both find it."""
    image_ND = torch.eye(3)
    text_UD = F.normalize(torch.tensor([[0.9, 0.8, 0.0], [0.0, 0.1, 1.0]]), dim=-1)
    metrics = retrieval_metrics(image_ND, text_UD, torch.tensor([0, 0, 1]))
    assert metrics["text_retrieval_recall@1"] == 1.0
    assert metrics["image_retrieval_recall@1"] == 1.0
    assert metrics["main_metric"] == metrics["mean_recall@1"] == 1.0


def test_retrieval_counts_either_direction_by_itself():
    """Every picture lies nearest to caption 0; caption 1 finds its picture all the same."""
    image_ND = F.normalize(torch.tensor([[1.0, 0.0], [0.8, 0.6]]), dim=-1)
    text_UD = F.normalize(torch.tensor([[1.0, 0.2], [0.2, 1.0]]), dim=-1)
    metrics = retrieval_metrics(image_ND, text_UD, torch.tensor([0, 1]))
    assert metrics["text_retrieval_recall@1"] == 0.5
    assert metrics["image_retrieval_recall@1"] == 1.0
    assert metrics["mean_recall@1"] == 0.75


def test_the_classifier_averages_directions_not_lengths():
    vectors = {"a x": [1.0, 0.0], "x": [0.0, 1.0], "a y": [1.0, 0.0], "y": [1.0, 0.0]}
    class_CD = classifier(
        lambda t: torch.tensor([vectors[x] for x in t]), ["x", "y"], ["a {c}", "{c}"]
    )
    half = 0.5**0.5
    torch.testing.assert_close(class_CD, torch.tensor([[half, half], [1.0, 0.0]]))


def test_class_names_are_said_as_words():
    assert class_name("signs_and_symbols") == "signs and symbols"
    assert prompts_for("food", ("a {c} {c}", "{c}")) == ["a food food", "food"]
    with pytest.raises(ValueError, match=r"got 'a picture', expected a text with \{c\}"):
        prompts_for("food", ("a picture",))


@pytest.fixture(scope="module")
def checkpoint(toy_pairs, tiny_model, tmp_path_factory):
    cfg = Train(model=tiny_model, towers=Towers(lock_text=False), samples_seen=32, batch_size=16)
    return train(
        cfg, toy_pairs(40, seed=3), out=Folder(str(tmp_path_factory.mktemp("run"))), seed=0
    )


def test_corrupt_pictures_are_left_out_and_counted(toy_pairs, checkpoint, caplog):
    heldout = toy_pairs(30, seed=4, corrupt=(0, 29))
    records = evaluate(checkpoint, heldout, tasks=("zeroshot:shape", "retrieval"), batch_size=7)
    (told,) = [r for r in caplog.records if r.name.startswith("training")]  # one line for all
    assert told.getMessage().startswith("2 held-out pictures cannot be decoded and are left out")
    assert [r["key"] for r in records] == ["zeroshot:shape", "retrieval"]
    assert [r["dataset"] for r in records] == ["Held-out shape", "Held-out retrieval"]
    for record in records:
        assert record["metrics"]["skipped"] == 2
        assert record["metrics"]["pictures"] == 28


def test_ignored_classes_are_no_choice_and_no_question(toy_pairs, checkpoint):
    heldout = toy_pairs(30, seed=4)
    metrics = evaluate(
        checkpoint, heldout, tasks=("zeroshot:shape",), batch_size=16, ignore_classes=("bar",)
    )[0]["metrics"]
    assert metrics["classes"] == 2
    assert metrics["pictures"] == sum(shape != "bar" for shape in heldout.fields["shape"])
    with pytest.raises(ValueError, match="got no class among 30 pictures"):
        evaluate(
            checkpoint,
            heldout,
            tasks=("zeroshot:shape",),
            batch_size=16,
            ignore_classes=("bar", "circle", "square"),
        )


def test_calibration_is_off_until_it_is_asked_for(toy_pairs, checkpoint):
    heldout = toy_pairs(30, seed=4)
    task = ("zeroshot:shape",)
    plain, same, calibrated_ = (
        evaluate(checkpoint, heldout, tasks=task, batch_size=16, **more)[0]["metrics"]
        for more in ({}, {"calibrate": False}, {"calibrate": True})
    )
    assert plain == same
    assert calibrated_["pictures"] == 30
    # A model that has learnt nothing names one class for all; a blank picture tells which.
    assert calibrated_ != plain


@pytest.mark.parametrize("task", ["zeroshot:weight", "zeroshot", "retrieval:shape", "captioning"])
def test_an_unknown_task_names_the_known_ones(toy_pairs, checkpoint, task):
    with pytest.raises(ValueError, match=f"got '{task}', expected 'retrieval' or one of .*shape"):
        evaluate(checkpoint, toy_pairs(30, seed=4), tasks=(task,), batch_size=16)


def test_what_cannot_be_judged_is_refused_before_there_is_a_checkpoint(toy_pairs, tmp_path):
    shard = toy_pairs(4, seed=4).shards[0]
    with pytest.raises(ValueError, match="zeroshot:nope: got no class among 4 pictures"):
        exam_of(Evaluate(tasks=("zeroshot:nope",)), [shard])
    broken = toy_pairs(4, seed=4, corrupt=range(4)).shards[0]
    with pytest.raises(ValueError, match="heldout: got 4 pairs without a picture"):
        exam_of(Evaluate(tasks=("retrieval",)), [broken])
    one = toy_pairs(4, seed=8, corrupt=(1,))  # the only one that is no bar
    assert [shape == "bar" for shape in one.fields["shape"]] == [True, False, True, True]
    cfg = Evaluate(tasks=("zeroshot:shape",), ignore_classes=("bar",))
    with pytest.raises(ValueError, match="heldout: got 1 pairs without a picture"):
        exam_of(cfg, [one.shards[0]])
    empty = tmp_path / "00000.tar"
    write_shard(empty, [])
    with pytest.raises(ValueError, match="heldout: got shards without a pair"):
        exam_of(Evaluate(tasks=("retrieval",)), [str(empty)])


def test_a_folder_that_is_no_checkpoint_is_refused(toy_pairs, tmp_path):
    with pytest.raises(ValueError, match=r"expected a folder with open_clip_config\.json"):
        evaluate(Folder(str(tmp_path)), toy_pairs(30, seed=4), tasks=("retrieval",), batch_size=16)


def test_batch_size_changes_no_metric(toy_pairs, checkpoint):
    heldout = toy_pairs(30, seed=4)
    runs = [
        evaluate(checkpoint, heldout, tasks=("retrieval",), batch_size=b)[0]["metrics"]
        for b in (3, 30)
    ]
    assert runs[0] == pytest.approx(runs[1])
