"""Evaluation: the models side by side, the best of each metric, and what curation gained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.curves import in_order
from pipeline.report.text import count, percent, plain

COUNTS = ("classes", "pictures", "captions", "skipped")
NOT_COMPARED = ("chance", "main_metric", *COUNTS)
Values = dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One row of the evaluation: values by model, None where not measured; more is better.

    Attributes:
        name: Of the metric.
        values: In the order of the models.
        best: The largest of them.
        gain: Subset minus random; None without both.
        main: Whether the task is judged by it.
    """

    name: str
    values: tuple[float | None, ...]
    best: float | None
    gain: float | None
    main: bool


@dataclass(frozen=True, slots=True)
class Task:
    """One task: its name, what it was measured on, and its metrics."""

    title: str
    about: str
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All tasks, for the models that were evaluated."""

    models: tuple[str, ...]
    tasks: tuple[Task, ...]


def evaluation_of(zero_shot: Mapping[str, Mapping[str, float]]) -> Evaluation | None:
    """Set the models side by side, task by task; None if none was evaluated.

    Args:
        zero_shot: By model, `<task>/<metric>` and its value.
    """
    models = in_order(zero_shot)
    by_task: dict[str, dict[str, Values]] = {}
    for model in models:
        for name, value in zero_shot[model].items():
            task, _, metric = name.rpartition("/")
            by_task.setdefault(task, {}).setdefault(model, {})[metric] = value
    tasks = tuple(_task(name, models, by_model) for name, by_model in by_task.items())
    return Evaluation(tuple(plain(model) for model in models), tasks) if tasks else None


def _task(name: str, models: Sequence[str], by_model: Mapping[str, Values]) -> Task:
    every = list(by_model.values())
    compared = dict.fromkeys(n for values in every for n in values if n not in NOT_COMPARED)
    judging = [n for n in compared if all(v.get(n) == v.get("main_metric") for v in every)]
    about = [f"chance {percent(every[0]['chance'])}"] if "chance" in every[0] else []
    about += [f"{count(int(every[0][n]))} {n}" for n in COUNTS if every[0].get(n)]
    return Task(
        title=_title(name),
        about=", ".join(about),
        metrics=tuple(_metric(n, models, by_model, main=n in judging[-1:]) for n in compared),
    )


def _title(task: str) -> str:
    """Name a task as a reader would: `zeroshot:category` is "Zero-shot by category"."""
    kind, _, field = task.partition(":")
    if kind in {"", "zeroshot"}:
        return f"Zero-shot by {plain(field)}" if field else "Zero-shot"
    return plain(task).capitalize()


def _metric(
    name: str, models: Sequence[str], metrics: Mapping[str, Mapping[str, float]], *, main: bool
) -> Metric:
    values = {model: metrics.get(model, {}).get(name) for model in models}
    known = [value for value in values.values() if value is not None]
    subset, random = values.get("subset"), values.get("random")
    return Metric(
        name=plain(name.replace("_", " ")),
        values=tuple(values.values()),
        best=max(known, default=None),
        gain=None if subset is None or random is None else subset - random,
        main=main,
    )
