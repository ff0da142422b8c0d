"""Judge a checkpoint on held-out pairs: one record a task, as in DataComp's eval_results.jsonl."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from filters.open_clip_models import tokenizer
from pipeline.folder import Folder
from pipeline.pairs import Pairs, pairs_from_shards
from pipeline.shards import list_shards
from pipeline.staging import split_url
from training.config import Evaluate, Precision
from training.evaluation.encoders import Encoders, encoders_of
from training.evaluation.heldout import HeldOut, require_picture, see
from training.evaluation.retrieval import retrieval_metrics
from training.evaluation.zeroshot import classifier, zero_shot_metrics
from training.input.kept_texts import distinct_texts
from training.models.build import load_model
from training.parallel.ranks import ALONE, Ranks

DEFAULTS = Evaluate()
RESULTS = "eval_results.jsonl"
Record = dict[str, Any]


def evaluate(
    checkpoint: Folder,
    heldout: Pairs,
    *,
    tasks: Sequence[str] = DEFAULTS.tasks,
    batch_size: int = DEFAULTS.batch_size,
    templates: Sequence[str] = DEFAULTS.templates,
    ignore_classes: Sequence[str] = DEFAULTS.ignore_classes,
    calibrate: bool = DEFAULTS.calibrate,
    ranks: Ranks = ALONE,
    precision: Precision = "float32",
) -> list[Record]:
    """Run tasks on a checkpoint; every picture is encoded once.

    Args:
        checkpoint: Folder that training or distillation wrote.
        heldout: Pairs that were not trained on.
        tasks: `retrieval`, or `zeroshot:FIELD` to classify by a field of the pairs.
        batch_size: Pictures encoded at a time.
        templates: Prompts of a class, `{c}` for its name.
        ignore_classes: Values of the field that are no class; their pictures are left out.
        calibrate: Divide the classes' probabilities by those on a blank picture.
        ranks: Those that share the work, each on its device; all of them call and get the records,
            which do not depend on how many they are.
        precision: Of the towers.

    Returns:
        One `{"key", "dataset", "metrics"}` a task; the metrics, in [0, 1], have a `main_metric`.

    Raises:
        ValueError: No such task, no such field, no checkpoint, or no picture to judge by.
    """
    cfg = Evaluate(
        tasks=tuple(tasks), batch_size=batch_size, templates=tuple(templates),
        ignore_classes=tuple(ignore_classes), calibrate=calibrate,
    )  # fmt: skip
    tasks_of(cfg, heldout)
    model, model_cfg = load_model(checkpoint)
    encoders = encoders_of(model, tokenizer(model_cfg), ranks=ranks, precision=precision)
    return run_tasks(cfg, encoders, heldout)


@torch.no_grad()
def run_tasks(cfg: Evaluate, encoders: Encoders, heldout: Pairs) -> list[Record]:
    """Run the tasks of some settings on a model; see `evaluate`."""
    runs = tasks_of(cfg, heldout)
    seen = see(encoders, heldout, batch_size=cfg.batch_size)
    return [
        {"key": name, "dataset": title, "metrics": {**run(seen), "skipped": seen.skipped}}
        for name, (title, run) in zip(cfg.tasks, runs, strict=True)
    ]


def tasks_of(
    cfg: Evaluate, heldout: Pairs
) -> list[tuple[str, Callable[[HeldOut], dict[str, float]]]]:
    """Return display name and work of each task.

    Raises:
        ValueError: A task cannot be run on these pairs.
    """
    if not len(heldout):
        raise ValueError(
            "heldout: got shards without a pair that can be read, expected some; check the "
            "held-out shards"
        )
    return [_task(cfg, name, heldout) for name in cfg.tasks]


def heldout_of(shards: Sequence[str], tasks: Sequence[str]) -> Pairs:
    """Read held-out pairs, with the fields that the tasks name."""
    fields = [task.partition(":")[2] for task in tasks if ":" in task]
    return pairs_from_shards(list_shards(shards), fields=fields)


def require_pictures(cfg: Evaluate, heldout: Pairs) -> None:
    """Refuse held-out pairs of whose pictures some task could use none.

    Raises:
        ValueError: None can be decoded, or none of a class.
    """
    require_picture(heldout)
    for name in cfg.tasks:
        _, _, field = name.partition(":")
        if field:
            classes = set(_classes(cfg, field, heldout))
            of_a_class = [i for i, value in enumerate(heldout.fields[field]) if value in classes]
            require_picture(heldout.take(np.array(of_a_class)))


def write_results(place: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Write DataComp's `eval_results.jsonl`: one task a line; all of it or nothing."""
    folder, name = split_url(place)
    folder.write(name, "".join(json.dumps(r) + "\n" for r in records).encode())


def _task(
    cfg: Evaluate, name: str, heldout: Pairs
) -> tuple[str, Callable[[HeldOut], dict[str, float]]]:
    kind, _, field = name.partition(":")
    if kind == "retrieval" and not field:
        return "Held-out retrieval", _retrieval
    if kind == "zeroshot" and field in heldout.fields:
        _classes(cfg, field, heldout)
        return f"Held-out {field}", partial(_zero_shot, cfg, field)
    fields = ", ".join(f"'zeroshot:{field}'" for field in heldout.fields) or "'zeroshot:FIELD'"
    raise ValueError(
        f"tasks: got {name!r}, expected 'retrieval' or one of [{fields}]; "
        "correct the name, or carry the field along when the held-out pairs are read"
    )


def _retrieval(seen: HeldOut) -> dict[str, float]:
    texts, caption_N = distinct_texts(seen.pairs.captions)
    text_UD = seen.encoders.embed_texts(texts)
    caption_N = torch.from_numpy(caption_N)
    return retrieval_metrics(seen.image_ND, text_UD, caption_N, ranks=seen.encoders.ranks)


def _zero_shot(cfg: Evaluate, field: str, seen: HeldOut) -> dict[str, float]:
    labels = _classes(cfg, field, seen.pairs)
    values = seen.pairs.fields[field]
    number = {label: i for i, label in enumerate(labels)}
    kept = [i for i, value in enumerate(values) if value in number]
    label_N = torch.tensor([number[values[i]] for i in kept])
    class_CD = classifier(seen.encoders.embed_texts, labels, cfg.templates)
    blank_D = seen.blank() if cfg.calibrate else None
    return zero_shot_metrics(
        seen.image_ND[kept], class_CD, label_N, blank_D=blank_D, ranks=seen.encoders.ranks
    )


def _classes(cfg: Evaluate, field: str, pairs: Pairs) -> list[str]:
    """Return the values of a field that are classes, in order."""
    values = pairs.fields[field]
    labels = sorted({value for value in values if value and value not in cfg.ignore_classes})
    if not labels:
        raise ValueError(
            f"zeroshot:{field}: got no class among {len(values)} pictures, expected at least one; "
            "shorten ignore_classes or choose another field"
        )
    return labels
