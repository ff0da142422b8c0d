"""`load_label_model`: the JSON of a label model in, the label model out, to the last bit.

Letters: M rules, K classes.
"""

import json
import math
from dataclasses import fields
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

import numpy as np

from filters.ensemble.forms import Linear, Trees
from filters.ensemble.model import Bayes, LabelModel, Share

FORMS: dict[str, type[LabelModel]] = {form.__name__: form for form in (Bayes, Share, Linear, Trees)}
SUM_ROUNDING = 1e-6
MAY_BE_NAN = "accuracy"
LARGEST = 1e300  # integers beyond it are no floats


def load_label_model(text: str) -> LabelModel:
    """Read what `LabelModel.to_json` wrote.

    A null in `accuracy` is NaN. `told` comes back as JSON has it: lists for tuples.

    Raises:
        ValueError: It is no JSON, of no form that is known, or a field of the form is missing, of
            another type, or of a size that does not fit the others.
    """
    tree = _parsed(text)
    name = tree.pop("form", None)
    if not isinstance(name, str) or name not in FORMS:
        raise _wrong(f"got form {name!r:.40}", f"one of {', '.join(FORMS)}")
    types = get_type_hints(FORMS[name])
    known = {field.name for field in fields(FORMS[name])}
    if tree.keys() != known:
        odd = ", ".join(sorted(tree.keys() ^ known))
        raise _wrong(f"got {name} without or with {odd:.80}", f"{', '.join(sorted(known))}")
    model = FORMS[name](**{key: _typed(value, types[key], key) for key, value in tree.items()})
    _check_sizes(model)
    _check_told(model)
    return model


def _parsed(text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"got what is no JSON ({error})", "what `to_json` wrote") from error
    if not isinstance(tree, dict):
        raise _wrong(f"got a {type(tree).__name__}", "an object")
    return tree


def _no_constant(token: str) -> NoReturn:
    raise ValueError(f"{token} is no number")


def _typed(value: Any, wanted: Any, where: str) -> Any:
    """Return a value as the annotation wants it: lists as tuples, null as NaN.

    Raises:
        ValueError: It is of another type.
    """
    plain = get_origin(wanted) or wanted
    if plain is tuple and isinstance(value, list):
        item = get_args(wanted)[0]  # tuple[item, ...]
        return tuple(_typed(v, item, f"{where}[{i}]") for i, v in enumerate(value))
    if plain is float:
        if value is None and where.startswith(MAY_BE_NAN):
            return math.nan
        if type(value) is float or (type(value) is int and abs(value) < LARGEST):
            return float(value)
    elif plain is not tuple and type(value) is plain:
        return value
    raise _wrong(f"got {value!r:.40} as {where}", str(getattr(wanted, "__name__", wanted)))


def _check_sizes(model: LabelModel) -> None:
    """Refuse a model whose parts do not fit each other; same names are of one size in all forms."""
    rules, classes = len(model.accuracy), model.classes
    adds_up = classes > 1 and abs(sum(model.prior) - 1) <= SUM_ROUNDING and min(model.prior) >= 0
    if not adds_up:
        raise _wrong(f"got prior {list(model.prior)!r:.80}", "probabilities that add up to 1")
    sizes = {
        "share": (rules,),
        "weight": (rules,),
        "class_weight": (classes,),
        "evidence": (rules, classes + 1, classes),
    }
    for name in [field.name for field in fields(model) if field.name in sizes]:
        value, size = getattr(model, name), sizes[name]
        if name == "class_weight" and not value:
            continue  # stands for ones
        try:
            got = np.array(value, np.float64).shape
        except ValueError as error:
            raise _wrong(f"got {name} with rows of several lengths", f"{size} numbers") from error
        if got != size:
            raise _wrong(f"got {name} of shape {got}", f"{size}")


def _check_told(model: LabelModel) -> None:
    """Refuse rules that are not there: a report looks them up."""
    told, rules = model.told, range(len(model.accuracy))
    lists = [told.get("adversarial", []), *_list(told.get("groups", []))]
    for named in lists:
        if not isinstance(named, list) or not all(type(m) is int and m in rules for m in named):
            raise _wrong(f"got rules {named!r:.80}", f"lists of numbers below {len(rules)}")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(f"got groups {value!r:.80}", "a list of lists")
    return value


def _wrong(got: str, expected: str) -> ValueError:
    return ValueError(f"label model: {got}, expected {expected}; fit it again with this version")
