"""Judge a checkpoint on held-out pairs: one record a task, as in DataComp's eval_results.jsonl."""

import functools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from filters.open_clip_models import tokenizer
from filters.prompts.calibration import BLANK
from pipeline.decode import DecodeError, decode_rgb
from pipeline.folder import Folder
from pipeline.pairs import Pairs
from training.config import Evaluate
from training.evaluation.retrieval import retrieval_metrics
from training.evaluation.zeroshot import classifier, zero_shot_metrics
from training.input.augment import Picture, central_crop
from training.input.kept_texts import distinct_texts
from training.models.build import ImageSide, load_model
from training.models.text import embed_texts

logger = logging.getLogger(__name__)

DEFAULTS = Evaluate()
DECODE_THREADS = 2


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out pairs as one model sees them.

    Attributes:
        pairs: Those whose picture could be decoded.
        image_ND: Their unit-norm image embeddings, float32.
        embed: Texts to unit-norm embeddings, by the same model.
        skipped: How many pictures could not be decoded.
        blank_D: Unit-norm embedding of a blank picture.
    """

    pairs: Pairs
    image_ND: Tensor
    embed: Callable[[Sequence[str]], Tensor]
    skipped: int
    blank_D: Tensor


def evaluate(
    checkpoint: Folder,
    heldout: Pairs,
    *,
    tasks: Sequence[str] = DEFAULTS.tasks,
    batch_size: int = DEFAULTS.batch_size,
    templates: Sequence[str] = DEFAULTS.templates,
    ignore_classes: Sequence[str] = DEFAULTS.ignore_classes,
    calibrate: bool = DEFAULTS.calibrate,
) -> list[dict[str, Any]]:
    """Run tasks on a checkpoint; every picture is encoded once, in float32 on the CPU.

    Args:
        checkpoint: Folder that training or distillation wrote.
        heldout: Pairs that were not trained on.
        tasks: `retrieval`, or `zeroshot:FIELD` to classify by a field of the pairs.
        batch_size: Pictures encoded at a time.
        templates: Prompts of a class, `{c}` for its name.
        ignore_classes: Values of the field that are no class; their pictures are left out.
        calibrate: Divide the classes' probabilities by those on a blank picture.

    Returns:
        One `{"key", "dataset", "metrics"}` a task; the metrics, in [0, 1], have a `main_metric`.

    Raises:
        ValueError: No such task, no such field, no checkpoint, or no picture to judge by.
    """
    zero_shot = functools.partial(
        _zero_shot, templates=templates, ignore=ignore_classes, calibrate=calibrate
    )
    runs = [_task(name, heldout, zero_shot) for name in tasks]
    seen = _encode(checkpoint, heldout, batch_size)
    return [
        {"key": name, "dataset": title, "metrics": {**run(seen), "skipped": seen.skipped}}
        for name, (title, run) in zip(tasks, runs, strict=True)
    ]


def _task(
    name: str, heldout: Pairs, zero_shot: Callable[..., dict[str, float]]
) -> tuple[str, Callable[[HeldOut], dict[str, float]]]:
    """Return display name and work of a task, refusing what cannot be run before any encoding."""
    kind, _, field = name.partition(":")
    if kind == "retrieval" and not field:
        return "Held-out retrieval", _retrieval
    if kind == "zeroshot" and field in heldout.fields:
        return f"Held-out {field}", functools.partial(zero_shot, field=field)
    fields = ", ".join(f"'zeroshot:{field}'" for field in heldout.fields)
    raise ValueError(
        f"tasks: got {name!r}, expected 'retrieval' or one of [{fields}]; "
        "carry the field along when the held-out pairs are read"
    )


def _retrieval(seen: HeldOut) -> dict[str, float]:
    texts, caption_N = distinct_texts(seen.pairs.captions)
    return retrieval_metrics(seen.image_ND, seen.embed(texts), torch.from_numpy(caption_N))


def _zero_shot(
    seen: HeldOut, *, field: str, templates: Sequence[str], ignore: Sequence[str], calibrate: bool
) -> dict[str, float]:
    values = seen.pairs.fields[field]
    labels = sorted({value for value in values if value and value not in ignore})
    if not labels:
        raise ValueError(
            f"zeroshot:{field}: got no class among {len(values)} pictures, expected at least one; "
            "shorten ignore_classes or choose another field"
        )
    kept = [i for i, value in enumerate(values) if value in set(labels)]
    label_N = torch.tensor([labels.index(values[i]) for i in kept])
    class_CD = classifier(seen.embed, labels, templates)
    blank_D = seen.blank_D if calibrate else None
    return zero_shot_metrics(seen.image_ND[kept], class_CD, label_N, blank_D=blank_D)


@torch.inference_mode()
def _encode(checkpoint: Folder, heldout: Pairs, batch_size: int) -> HeldOut:
    """Load the checkpoint and run every decodable picture through its image tower."""
    model, model_cfg = load_model(checkpoint)
    image = ImageSide(model, precision="float32")
    decode = functools.partial(_decode, heldout, image.size)
    features, rows = [], []
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="evaluate") as pool:
        for start in range(0, len(heldout), batch_size):
            chunk = range(start, min(start + batch_size, len(heldout)))
            found = [
                (i, p) for i, p in zip(chunk, pool.map(decode, chunk), strict=True) if p is not None
            ]
            if found:
                rows += [i for i, _ in found]
                pixels_BHWC = np.stack([picture for _, picture in found])
                features.append(image(torch.from_numpy(pixels_BHWC)))
    if not rows:
        raise ValueError(
            f"heldout: got {len(heldout)} pairs without a picture that can be decoded, expected "
            "some; check the held-out shards"
        )
    embed = functools.partial(embed_texts, model, tokenizer(model_cfg))
    blank_D = image(torch.full((1, image.size, image.size, 3), BLANK, dtype=torch.uint8))[0]
    skipped = len(heldout) - len(rows)
    return HeldOut(heldout.take(rows), torch.cat(features), embed, skipped, blank_D)


def _decode(pairs: Pairs, size: int, i: int) -> Picture | None:
    try:
        return central_crop(decode_rgb(pairs.image_bytes(i)), size)
    except DecodeError as error:
        logger.warning("held-out pair %d: %s; left out", i, error)
        return None
