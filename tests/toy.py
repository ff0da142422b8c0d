"""Drawn pictures, and shards of them whose every defect is planted by hand."""

import io
import json
import struct
import zlib

from PIL import Image, ImageDraw

from pipeline.shards import write_shard

COLOURS = ("red", "green", "blue", "orange", "purple", "black")
SHAPES = ("circle", "square", "triangle")


def draw(shape, colour, *, size=(96, 80), mode="RGB"):
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    width, height = size
    box = (width // 5, height // 5, width * 4 // 5, height * 4 // 5)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([(box[0], box[3]), (box[2], box[3]), (width // 2, box[1])], fill=colour)
    return picture.convert(mode)


def encoded(picture, kind="PNG", **options):
    sink = io.BytesIO()
    picture.save(sink, kind, **options)
    return sink.getvalue()


def pair(key, *, image=None, caption="a red circle", meta=None, extension="png"):
    image = encoded(draw("circle", "red")) if image is None else image
    members = [(f"{key}.{extension}", image), (f"{key}.txt", caption.encode())]
    if meta is not None:
        members.append((f"{key}.json", json.dumps(meta).encode()))
    return members


def build_pool(folder, *, shards, pairs):
    number = 0
    for shard in range(shards):
        members = []
        for _ in range(pairs):
            shape, colour = SHAPES[number % 3], COLOURS[number // 3 % 6]
            size = (90 + number, 80 + 2 * number % 37)
            members += pair(
                f"{number:06d}",
                image=encoded(draw(shape, colour, size=size)),
                caption=f"a {colour} {shape} number {number} on white ground",
                meta={"uid": f"{number:032x}", "category": shape},
            )
            number += 1
        write_shard(folder / f"{shard:05d}.tar", members)
    return folder


def huge_png(width, height):
    """A PNG whose header declares a size that its data does not have."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")
