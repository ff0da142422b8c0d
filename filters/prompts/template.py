"""A question with named fields."""

from collections.abc import Mapping
from string import Formatter

FIELDS = ("caption", "width", "height")
CAPTION_CHARS = 2000  # of a caption go into a question: what a hostile one may cost


def fields_of(template: str) -> frozenset[str]:
    """Return the fields of a template, such as `"Is {caption} a sentence?"`.

    Raises:
        ValueError: It does not parse, has a field that pairs do not have, or more than a name
            between braces.
    """
    found = set()
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(_refusal(template, str(error))) from error
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in FIELDS or form or conversion:
            raise ValueError(_refusal(template, f"the field {{{name}}}"))
        found.add(name)
    return frozenset(found)


def filled(template: str, values: Mapping[str, str]) -> str:
    """Fill a template in; a value is never parsed, whatever braces it has.

    >>> filled("Is {caption} of {width} pixels?", {"caption": "{width}", "width": "640"})
    'Is {width} of 640 pixels?'
    """
    return template.format_map({name: values[name] for name in fields_of(template)})


def values_of(caption: str, size: tuple[int, int]) -> dict[str, str]:
    """Return a pair's values, of a caption and (width, height) in pixels."""
    return {"caption": caption[:CAPTION_CHARS], "width": str(size[0]), "height": str(size[1])}


def _refusal(template: str, what: str) -> str:
    fields = ", ".join(f"{{{name}}}" for name in FIELDS)
    return (
        f"template {template[:80]!r}: got {what}, expected {fields}; correct the name, and write a "
        "brace that is meant as one twice"
    )
