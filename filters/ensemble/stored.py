"""A label model as it is stored."""

import json
from typing import Any

from filters.ensemble.model import Bayes, LabelModel, Share

FORMS = {form.__name__: form for form in (Bayes, Share)}


def load_label_model(text: str) -> LabelModel:
    """Read what `to_json` wrote.

    Raises:
        ValueError: It is something else, or of an earlier version.
    """
    try:
        stored = json.loads(text)
        form = FORMS[stored.pop("form")]
        return form(**{name: _tuples(value) for name, value in stored.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"label model: got JSON that is none of this version ({type(error).__name__} {error}), "
            f"expected a {' or '.join(FORMS)}; run `thresher curate` on this run again, it reads "
            "no pixel"
        ) from error


def _tuples(value: Any) -> Any:
    """Return lists as tuples; null, which stands for NaN, as NaN."""
    if isinstance(value, list):
        return tuple(float("nan") if item is None else _tuples(item) for item in value)
    return value
