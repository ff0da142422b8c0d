"""Datasets of the Hugging Face hub, or of a local folder, as a source: streamed row by row."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import parse_qsl

import fsspec

from pipeline.pools.item import Collection, Item, Picture, one_line, uid_of

logger = logging.getLogger(__name__)

PREFIX = "hf:"
GRAMMAR = "hf:NAME?image=COLUMN&text=COLUMN&category=COLUMN&split=SPLIT&config=NAME"
# Names that caption columns have on the hub, the likeliest first.
CAPTION_NAMES = ("caption", "captions", "text", "txt", "sentence", "sentences", "alt_text", "title")
SPOOL_NAME = "pictures.bin"


@dataclass(frozen=True, kw_only=True, slots=True)
class HubDataset:
    """One split of a dataset.

    Attributes:
        path: Name on the hub, or a local folder.
        image: Column of pictures, `""` to find it.
        text: Column of captions (of a list the first), `""` to find it.
        category: Column with a class, `""` for none.
        split: Of the dataset.
        config: Subset of the dataset, `""` for its default.
    """

    path: str
    image: str = ""
    text: str = ""
    category: str = ""
    split: str = "train"
    config: str = ""

    @classmethod
    def parse(cls, source: str) -> Self:
        """Read `hf:NAME?key=value&...`.

        Raises:
            ValueError: A key that is none of the attributes, or no name.
        """
        path, _, query = source.removeprefix(PREFIX).partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        known = set(cls.__dataclass_fields__) - {"path"}
        if not path or not given.keys() <= known:
            raise ValueError(f"--from: got {source!r}, expected {GRAMMAR}")
        return cls(path=path, **given)

    def identify(self) -> dict[str, str]:
        """Return nothing: asking would take the network, and a pool once built stays."""
        return {}

    def collect(self, *, wanted: int | None, spool: Path) -> Collection:
        """Stream rows until `wanted` have a picture and a caption; pictures go into one file."""
        skipped: Counter[str] = Counter()
        items: list[Item] = []
        with (spool / SPOOL_NAME).open("wb") as pictures:
            stream, image, text = self._open()
            version = str(stream.info.version or "")
            for number, row in enumerate(self._rows(stream, image, text)):
                picture, caption, category = row
                if wanted is not None and len(items) >= wanted:
                    break
                if not picture or not caption:
                    skipped["no_caption" if picture else "no_picture"] += 1
                    continue
                items.append(self._item(number, caption, category, _append(pictures, picture)))
        return Collection(tuple(items), {f"{PREFIX}{self.path}": version}, dict(skipped))

    def _item(self, number: int, caption: str, category: str, picture: Picture) -> Item:
        name = f"{self.config or 'default'}/{self.split}/{number}"
        uid = uid_of(f"{PREFIX}{self.path}", name)
        meta = {"source": f"{PREFIX}{self.path}", "version": "", "name": name, "category": category}
        return Item(uid=uid, picture=picture, picture_uid=uid, caption=caption, meta=meta)

    def _rows(self, stream: Any, image: str, text: str) -> Iterator[tuple[bytes | None, str, str]]:
        """Yield encoded picture, caption and category of every row."""
        label = getattr(stream.features[self.category], "int2str", str) if self.category else None
        for row in stream:
            value = row[text]
            caption = value[0] if isinstance(value, list) and value else value
            category = label(row[self.category]) if label else ""
            yield _encoded(row[image]), one_line(str(caption or "")), category

    def _open(self) -> tuple[Any, str, str]:
        """Open the stream with undecoded pictures; the stream and its two columns."""
        import datasets

        try:
            stream = datasets.load_dataset(
                self.path, self.config or None, split=self.split, streaming=True
            )
            if stream.features is None:  # some formats name no types: a first row tells them
                stream = stream._resolve_features()
        except Exception as error:  # the hub's client raises dozens of kinds
            raise ValueError(
                f"--from: got {PREFIX}{self.path} ({_brief(error)}), expected a dataset that "
                f"`datasets` can load; check the name, the network and {GRAMMAR}"
            ) from error
        features = dict(stream.features or {})
        image, text = self._columns(features)
        if isinstance(features[image], datasets.Image):
            stream = stream.cast_column(image, datasets.Image(decode=False))
        return stream, image, text

    def _columns(self, features: Mapping[str, Any]) -> tuple[str, str]:
        """Return the named columns, or the first of the kind and the likeliest by name."""
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        strings = [
            n for n, feature in features.items() if "string" in str(feature) and n[:2] != "__"
        ]
        images = [n for n, kind in kinds.items() if kind == "Image"]
        by_name = [n for n in CAPTION_NAMES if n in strings]
        named = [n for n in (self.image, self.text, self.category) if n and n not in kinds]
        image = self.image or "".join(images[:1])
        text = self.text or "".join((by_name or strings)[:1])
        if named or not image or not text:
            found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise ValueError(
                f"--from: got {PREFIX}{self.path} with the columns {found}, expected one of "
                f"pictures and one of captions; name them as {GRAMMAR}"
            )
        return image, text


def _append(pictures: BinaryIO, data: bytes) -> Picture:
    place = Picture(pictures.name, pictures.tell(), len(data))
    pictures.write(data)
    return place


def _encoded(value: Any) -> bytes | None:
    """Return the bytes of a picture cell: a struct of bytes and path, or plain bytes."""
    if isinstance(value, bytes) or value is None:
        return value
    if value.get("bytes"):
        return value["bytes"]
    try:
        fs, path = fsspec.core.url_to_fs(value["path"])
        return fs.cat_file(path)
    except (OSError, KeyError, TypeError) as error:
        logger.warning("a picture of the dataset cannot be read: %s", _brief(error))
        return None


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(str(error))[:200]}"
