"""Pictures drawn here, and package trees laid out as Debian lays them out."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SVG = """<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><metadata>
<rdf:RDF xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><cc:Work rdf:about="">
<dc:title>{title}</dc:title><dc:description>{description}</dc:description>
<dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject>
<dc:publisher><cc:Agent><dc:title>Open Clip Art Library</dc:title></cc:Agent></dc:publisher>
<dc:creator><cc:Agent><dc:title>Ada</dc:title></cc:Agent></dc:creator>
<cc:license rdf:resource="http://web.resource.org/cc/PublicDomain"/>
<dc:language>en</dc:language></cc:Work></rdf:RDF></metadata></svg>"""


def picture(seed: int, *, side: int = 120, form: str = "PNG") -> bytes:
    """Draw soft coloured blots that no other seed draws."""
    blots = np.random.default_rng(seed).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    image = Image.fromarray(blots).resize((side, side), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def svg(title: str = "", description: str = "", keywords: tuple[str, ...] = ()) -> str:
    bag = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
    return SVG.format(title=title, description=description, keywords=bag)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    root = tmp_path / "cache"
    monkeypatch.setenv("THRESHER_CACHE", str(root))
    return root


@pytest.fixture
def draw() -> Callable[..., bytes]:
    return picture


@pytest.fixture
def write_svg() -> Callable[..., str]:
    return svg


@pytest.fixture
def clipart(cache) -> Path:
    """Unpacked openclipart packages: 120 pictures in 4 categories, 2 links, 3 near-copies."""
    trees = {
        kind: cache / f"debian/openclipart-{kind}_1%3a0.18/usr/share/openclipart/{kind}"
        for kind in ("png", "svg")
    }
    for number in range(120):
        category = ("animals", "food", "shapes", "tools")[number % 4]
        name = f"{category}/thing_{number:03d}"
        seed = number if number % 40 else 0  # 0, 40 and 80 are the same picture
        _put(trees["png"] / f"{name}.png", picture(seed, side=120 + number % 3))
        _put(trees["svg"] / f"{name}.svg", svg(title=f"{category} no. {number}").encode())
    for link in ("food/linked.png", "shapes/linked.png"):
        (trees["png"] / link).symlink_to("../animals/thing_000.png")
    return cache


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
