"""Zero-shot classification: the classes are prompts, nothing is trained (arXiv:2103.00020).

Shape letters: N pictures, C classes, T templates, D embedding.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.prompts import prompts_for
from training.ranking import ranks, share_within


def classifier(
    embed: Callable[[Sequence[str]], Tensor], labels: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """Return one unit-norm vector a class, [C, D]: the normalised mean over its prompts.

    Args:
        embed: Texts to unit-norm embeddings.
        labels: C class labels; underscores are read as spaces.
        templates: T prompts with `{c}` for the class name.
    """
    prompts = [prompt for label in labels for prompt in prompts_for(label, templates)]
    prompt_CTD = embed(prompts).unflatten(0, (len(labels), len(templates)))
    return F.normalize(prompt_CTD.mean(dim=1), dim=-1)


def zero_shot_metrics(image_ND: Tensor, class_CD: Tensor, label_N: Tensor) -> dict[str, float]:
    """Score pictures against classes.

    Args:
        image_ND: Unit-norm embeddings.
        class_CD: Unit-norm class vectors.
        label_N: int64 in [0, C).

    Returns:
        acc1, acc5, mean_per_class_recall (over the classes that occur) and the last's value for a
        model that guesses, all in [0, 1]. `main_metric` is mean_per_class_recall: where classes
        are of very different size, accuracy rewards naming the largest.
    """
    class_C = torch.arange(len(class_CD))
    rank_N = ranks(image_ND, class_CD, query_label_Q=label_N, candidate_label_C=class_C)
    recalls = [share_within(rank_N[label_N == c], 1) for c in label_N.unique()]
    mean_recall = sum(recalls) / len(recalls)
    return {
        "acc1": share_within(rank_N, 1),
        "acc5": share_within(rank_N, 5),
        "mean_per_class_recall": mean_recall,
        "chance": 1 / len(class_CD),
        "classes": len(class_CD),
        "pictures": len(label_N),
        "main_metric": mean_recall,
    }
