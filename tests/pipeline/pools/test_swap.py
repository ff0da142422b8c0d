import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pools.swap import Captioned, exchange, is_wrong

pairs_of = st.lists(
    st.builds(Captioned, caption=st.sampled_from("abcdefgh"), category=st.sampled_from("XYZ")),
    max_size=40,
)


@given(pairs_of, st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_every_swapped_caption_is_wrong_and_given_once(pairs, seed):
    donors = exchange(pairs, np.random.default_rng(seed))
    given_away = [donor for donor in donors if donor is not None]
    assert len(set(given_away)) == len(given_away)
    for pair, donor in zip(pairs, donors, strict=True):
        if donor is not None:
            assert pair.category != pairs[donor].category
            assert pair.caption != pairs[donor].caption


def test_a_balanced_set_is_swapped_whole():
    pairs = [Captioned(f"caption {i}", "AB"[i % 2]) for i in range(40)]
    donors = exchange(pairs, np.random.default_rng(0))
    assert sorted(d for d in donors if d is not None) == list(range(40))


def test_without_categories_captions_decide():
    pairs = [Captioned(f"caption {i}", "") for i in range(11)]
    assert None not in exchange(pairs, np.random.default_rng(0))


def test_donors_of_one_category_come_from_many():
    pairs = [Captioned(f"caption {i}", "ABCDE"[i % 5]) for i in range(100)]
    donors = exchange(pairs, np.random.default_rng(0))
    from_a = {pairs[donors[i]].category for i in range(0, 100, 5)}
    assert len(from_a) >= 3


def test_one_category_alone_cannot_be_swapped():
    pairs = [Captioned(f"caption {i}", "A") for i in range(9)]
    assert exchange(pairs, np.random.default_rng(0)) == [None] * 9


def test_case_makes_no_caption_wrong():
    assert not is_wrong(Captioned("Sun", "A"), Captioned("sun", "B"))
