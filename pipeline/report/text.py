"""Untrusted text made plain, and numbers the way a reader wants them."""

import math
import unicodedata

CAPTION_CHARS = 160
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
NOT_SHOWN = "\N{REPLACEMENT CHARACTER}"
NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
# Joiners are format characters too, but emoji and many scripts are spelled with them.
JOINERS = ("\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}")
MINUTE, HOUR = 60, 3600


def plain(text: str, *, limit: int = CAPTION_CHARS) -> str:
    """Bring untrusted text onto one short line that can neither reorder nor hide its neighbours.

    White space collapses; control, bidi, private-use and unassigned characters become U+FFFD. It is
    not escaped: that is the template's job.

    Args:
        text: Anything.
        limit: Characters that are kept; more are cut and an ellipsis says so.
    """
    head = " ".join(text[: 4 * limit].split())
    shown = "".join(NOT_SHOWN if _is_hidden(c) else c for c in head[:limit])
    return shown + ELLIPSIS if len(head) > limit or len(text) > 4 * limit else shown


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character).startswith("C") and character not in JOINERS


def count(number: int) -> str:
    """Write a whole number: `12,345`."""
    return f"{number:,}"


def percent(share: float | None) -> str:
    """Write a share in [0, 1]: `12.3 %`; what is there but tiny is not called zero."""
    if share is None or not math.isfinite(share):
        return NONE
    if 0 < share < 0.0005:  # noqa: PLR2004 -- would round to 0.0 %
        return "< 0.1 %"
    return f"{100 * share:.1f} %"


def decimal(number: float | None, *, digits: int = 2) -> str:
    """Write a number with fixed digits; a dash where there is none."""
    if number is None or not math.isfinite(number):
        return NONE
    return f"{number:.{digits}f}".replace("-", MINUS)


def signed(number: float | None, *, digits: int = 2) -> str:
    """Write a number with its sign, `+0.52`."""
    text = decimal(number, digits=digits)
    return text if text == NONE or text.startswith(MINUS) else f"+{text}"


def compact(number: float) -> str:
    """Write a tick label: `0.25`, `120`, `45k`, `1.2M`."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= unit:
            return f"{figure(number / unit)}{name}"
    return figure(number)


def figure(number: float | None) -> str:
    """Write a number with at most four significant digits; a dash where there is none."""
    if number is None or not math.isfinite(number):
        return NONE
    return f"{number:.4g}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """Write seconds: `0.42 s`, `12.3 s`, `3 min 12 s`, `2 h 05 min`."""
    if seconds < MINUTE:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"


def size(num_bytes: float) -> str:
    """Write bytes in decimal units: `512 B`, `1.2 MB`."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.1f} {name}"
    return f"{num_bytes:.0f} B"
