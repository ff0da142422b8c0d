"""Zero-shot classification: the classes are prompts, nothing is trained (arXiv:2103.00020).

Shape letters: N pictures, C classes, T templates, D embedding.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from filters.prompts.calibration import calibrate
from training.evaluation.prompts import prompts_for
from training.evaluation.ranking import cosines, places, share_within
from training.parallel.ranks import ALONE, Ranks

SCALE = 100.0  # what CLIP's logit scale is clipped to; calibrated ranks do not depend on it


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


def zero_shot_metrics(
    image_ND: Tensor,
    class_CD: Tensor,
    label_N: Tensor,
    *,
    blank_D: Tensor | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Score pictures against classes.

    Args:
        image_ND: Unit-norm embeddings.
        class_CD: Unit-norm class vectors.
        label_N: int64 in [0, C).
        blank_D: Unit-norm embedding of a blank picture, to calibrate by what the model says of
            nothing (arXiv:2403.05262); None does not.
        ranks: Those that share the work; all of them call.

    Returns:
        acc1, acc5, mean_per_class_recall (over the classes that occur) and the last's value for a
        model that guesses, all in [0, 1]. `main_metric` is mean_per_class_recall: where classes
        are of very different size, accuracy rewards naming the largest.
    """
    score = cosines(class_CD)
    if blank_D is not None:
        score = lambda some_ND: torch.from_numpy(calibrated(some_ND, class_CD, blank_D))  # noqa: E731
    class_C = torch.arange(len(class_CD))
    place_N = places(image_ND, score, query_label_Q=label_N, candidate_label_C=class_C, ranks=ranks)
    recalls = [share_within(place_N[label_N == c], 1) for c in label_N.unique()]
    mean_recall = sum(recalls) / len(recalls)
    return {
        "acc1": share_within(place_N, 1),
        "acc5": share_within(place_N, 5),
        "mean_per_class_recall": mean_recall,
        "chance": 1 / len(class_CD),
        "classes": len(class_CD),
        "pictures": len(label_N),
        "main_metric": mean_recall,
    }


def calibrated(image_ND: Tensor, class_CD: Tensor, blank_D: Tensor) -> NDArray[np.float64]:
    """Return class probabilities divided by those of a blank picture, float64 [N, C].

    A picture with the blank's embedding gets exactly 1 / C for each class.
    """
    p_cf_C = probabilities(blank_D[None], class_CD)[0]
    return calibrate(probabilities(image_ND, class_CD), p_cf_C)


def probabilities(image_ND: Tensor, class_CD: Tensor) -> NDArray[np.float64]:
    """Return the softmax over classes, float64 [N, C].

    Summed without BLAS, in one order whatever N is: the same picture gets the same bits, alone or
    among others.
    """
    image, classes = image_ND.double().cpu().numpy(), class_CD.double().cpu().numpy()
    logit_NC = SCALE * np.einsum("nd,cd->nc", image, classes)
    p_NC = np.exp(logit_NC - logit_NC.max(axis=1, keepdims=True))
    return p_NC / p_NC.sum(axis=1, keepdims=True)
