"""Templates, answer maps and calibration, against values worked out by hand."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.prompts.answers import Answers
from filters.prompts.calibration import calibrate
from filters.prompts.template import CAPTION_CHARS, fields_of, filled, values_of

YES_NO = Answers(("yes", "no"))


def test_a_template_takes_its_fields_and_parses_no_value():
    values = values_of("{height} {__class__}", (640, 480))
    assert filled("{width}x{height}: {caption} {{as is}}", values) == (
        "640x480: {height} {__class__} {as is}"
    )
    assert fields_of("{caption}, {width}") == {"caption", "width"}
    assert len(values_of("x" * 10**6, (1, 1))["caption"]) == CAPTION_CHARS


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("Is {title} good?", r"the field \{title\}, expected \{caption\}, \{width\}, \{height\}"),
        ("{caption.__class__}", "caption.__class__"),
        ("{caption!r}", r"the field \{caption\}"),
        ("{width:>9999999}", r"the field \{width\}"),
        ("{}", r"the field \{\}"),
        ("{0}", r"the field \{0\}"),
        ("half a {caption", "expected '}'"),
    ],
)
def test_a_template_is_refused_for_what_pairs_do_not_have(template, what):
    with pytest.raises(ValueError, match=what):
        fields_of(template)


@pytest.mark.parametrize(
    ("completion", "said"),
    [
        ("Yes", "yes"),
        (" yes.", "yes"),
        ("**No**, since the", "no"),
        ("NO\nThe caption", "no"),
        ("yes - it does", "yes"),
        ("Not sure", "not sure"),
        ("not  sure: both", "not sure"),
        ("No idea", None),
        ("Nothing", None),
        ("I would say yes", None),
        ("", None),
        ("!!", None),
    ],
)
def test_the_first_clause_has_to_be_an_answer(completion, said):
    answers = Answers.of({"Yes": "keep", "no": "drop", "not sure": "abstain"})
    found = answers.index(completion)
    assert (None if found is None else answers.words[found]) == said


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        ({}, "got none that votes"),
        ({"maybe": "abstain"}, "got none that votes"),
        ({"yes": "keep", "YES": "drop"}, "got 'yes', expected words"),
        ({"yes, sir": "keep"}, "got 'yes, sir'"),
        ({"": "keep"}, "got ''"),
    ],
)
def test_answer_maps_that_cannot_be_told_apart(answers, what):
    with pytest.raises(ValueError, match=what):
        Answers.of(answers)


def test_probabilities_add_up_spellings_and_leave_the_rest_out():
    top = {"Yes": log(0.4), " yes": log(0.1), "No": log(0.25), "Maybe": log(0.2), "Y": log(0.05)}
    np.testing.assert_allclose(YES_NO.probabilities(top), [0.5 / 0.75, 0.25 / 0.75])


def test_an_answer_that_is_not_in_the_list_is_as_likely_as_the_last_one():
    p_K = YES_NO.probabilities({"Yes": log(0.9), "Well": log(0.09), "Hm": log(0.01)})
    np.testing.assert_allclose(p_K, [0.9 / 0.91, 0.01 / 0.91])
    assert YES_NO.probabilities({"Well": log(0.9)}) is None
    assert YES_NO.probabilities({}) is None


def test_a_token_that_begins_two_answers_stands_for_neither():
    answers = Answers(("relevant", "related", "no"))
    top = {"rel": log(0.6), "Irr": log(0.1), "relev": log(0.2), "no": log(0.1)}
    np.testing.assert_allclose(answers.probabilities(top), [0.5, 0.25, 0.25])


def test_what_a_server_calls_impossible_is_not_zero():
    p_K = YES_NO.probabilities({"Yes": 0.0, "No": -9999.0})
    assert 0 < p_K[1] < 1e-8


def test_calibration_by_hand():
    """0.8/0.9 to 0.2/0.1 is 8/9 to 2, so 4/13 to 9/13: the answer turns."""
    np.testing.assert_allclose(
        calibrate(np.array([0.8, 0.2]), np.array([0.9, 0.1])), [4 / 13, 9 / 13]
    )
    batch_2K = np.array([[0.8, 0.2], [0.9, 0.1]])
    np.testing.assert_allclose(
        calibrate(batch_2K, np.array([0.9, 0.1])), [[4 / 13, 9 / 13], [0.5, 0.5]]
    )


@given(st.lists(st.floats(1e-12, 1), min_size=2, max_size=12))
@settings(max_examples=50, deadline=None)
def test_what_is_answered_as_nothing_is_gets_exactly_the_same_everywhere(values):
    p_K = np.array(values) / sum(values)
    assert (calibrate(p_K, p_K) == 1 / len(values)).all()


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=6), st.floats(1e-3, 1e3))
@settings(max_examples=50, deadline=None)
def test_an_even_prior_changes_nothing_whatever_its_scale(values, scale):
    p_K = np.array(values) / sum(values)
    np.testing.assert_allclose(calibrate(p_K, np.full(len(values), scale)), p_K, rtol=1e-12)


def test_calibration_refuses_what_has_no_quotient():
    with pytest.raises(ValueError, match=r"content-free probability of 0\.0"):
        calibrate(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="a row without a positive probability"):
        calibrate(np.array([[0.5, 0.5], [0.0, 0.0]]), np.array([0.5, 0.5]))
