"""What a pool can be built from, by the word on the command line."""

from pipeline.pools.hub import PREFIX, HubDataset
from pipeline.pools.item import Source
from pipeline.pools.openclipart import OpenClipart
from pipeline.pools.own import OwnShards
from pipeline.pools.tuxpaint import ENGLISH, TuxPaint

NAMES = ("openclipart", "tuxpaint")


def open_source(text: str, *, locales: tuple[str, ...] = (ENGLISH,)) -> Source:
    """Return the source that `text` names.

    Args:
        text: `openclipart`, `tuxpaint`, `hf:<dataset>`, or a folder, glob or URL of shards.
        locales: Languages of the captions; only `tuxpaint` has several.

    Raises:
        ValueError: The text names nothing, or locales are asked of a source without them.
    """
    if locales != (ENGLISH,) and text != "tuxpaint":
        raise ValueError(
            f"locales: got {', '.join(locales)} for {text}, expected them only with tuxpaint"
        )
    if text == "openclipart":
        return OpenClipart()
    if text == "tuxpaint":
        return TuxPaint(locales)
    if text.startswith(PREFIX):
        return HubDataset.parse(text)
    if "/" in text or text.endswith(".tar"):
        return OwnShards(text)
    raise ValueError(
        f"pool: got {text!r}, expected {', '.join(NAMES)}, hf:<dataset>, or a folder or glob of "
        "your own shards with a / in it"
    )
