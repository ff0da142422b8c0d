"""Prompts for zero-shot classification: templates and class names as people would say them."""

from collections.abc import Sequence

CLIP_ART = (
    "a clip art picture of {c}",
    "{c} clip art",
    "a drawing of {c}",
    "an icon of {c}",
    "{c}",
)


def class_name(label: str) -> str:
    """Turn a label into words: `signs_and_symbols` -> `signs and symbols`."""
    return " ".join(label.replace("_", " ").replace("-", " ").split())


def prompts_for(label: str, templates: Sequence[str]) -> list[str]:
    """Fill every template with the class's name.

    Raises:
        ValueError: A template has no place for the name.
    """
    for template in templates:
        if "{c}" not in template:
            raise ValueError(
                f"templates: got {template!r}, expected a text with {{c}} for the class name; "
                "correct it in the config"
            )
    return [template.replace("{c}", class_name(label)) for template in templates]
