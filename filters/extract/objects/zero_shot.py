"""transformers' open-vocabulary detectors behind one call: pictures and captions in, boxes out.

A picture's boxes do not depend on the others of its batch, but for rounding. Where the processors'
own way to make a batch would change them, pictures go another way:

- Grounding DINO pads pictures to a common size, and its backbone sees the padding: only pictures of
  the same size go together.
- OWLv2 and OmDet-Turbo pad lists of phrases with blanks that compete with the phrases: lists are
  padded with a repeated phrase, whose scores are left out.
- OmDet-Turbo keeps embeddings of earlier batches: they are dropped.

Shape letters: G pictures of one size, Q queries of the model, P phrases of a caption, L tokens,
n boxes of a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from filters.extract.objects.boxes import Found, suppress
from filters.extract.objects.prompts import named, padded, prompt_of

if TYPE_CHECKING:
    from torch import Tensor

NMS_OVERLAP = 0.5  # of OmDet-Turbo, the default of its own post-processing


@dataclass(frozen=True, slots=True)
class Sample:
    """A pair as a detector takes it.

    Attributes:
        picture: uint8 [height, width, 3].
        caption: The caption.
        phrases: Those of the caption that may name things.
    """

    picture: NDArray[np.uint8]
    caption: str
    phrases: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.picture.shape[1], self.picture.shape[0]


class ZeroShot:
    """A detector with its processor, ready to run."""

    def __init__(
        self, model: str, *, revision: str, threshold: float, text_threshold: float, device: str
    ) -> None:
        """Load processor and weights.

        Raises:
            FileNotFoundError: There is no such model, or the hub is out of reach.
            ValueError: It is a model of another kind.
        """
        self._processor, self._model = _load(model, revision)
        self._model = self._model.to(device)
        self._device = device
        self._threshold, self._text_threshold = threshold, text_threshold
        self._find = {
            "grounding-dino": self._by_caption,
            "mm-grounding-dino": self._by_caption,
            "owlvit": self._by_phrases,
            "owlv2": self._by_phrases,
            "omdet-turbo": self._by_task,
        }[self._model.config.model_type]

    def __call__(self, samples: Sequence[Sample]) -> list[Found]:
        """Find what captions name; a sample without a phrase has no box."""
        import torch

        found = [Found.nothing(s.size, phrases=len(s.phrases)) for s in samples]
        pixels = {i: self._pixels(s.picture) for i, s in enumerate(samples) if s.phrases}
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, each in pixels.items():
            groups.setdefault(tuple(each.shape), []).append(i)
        for rows in groups.values():
            group = [samples[i] for i in rows]
            stacked = torch.cat([pixels[i] for i in rows]).to(self._device)
            with torch.inference_mode():
                for i, boxes in zip(rows, self._find(stacked, group), strict=True):
                    found[i] = boxes
        return found

    def _pixels(self, picture: NDArray[np.uint8]) -> "Tensor":
        """Return what the model takes of one picture; float32 [1, 3, height, width]."""
        image = Image.fromarray(picture)
        return self._processor.image_processor(images=image, return_tensors="pt").pixel_values

    def _run(self, **inputs: "Tensor") -> Any:
        """Run the model; bfloat16 on a GPU."""
        import torch

        with torch.autocast(self._device, torch.bfloat16, enabled=self._device == "cuda"):
            return self._model(**{name: each.to(self._device) for name, each in inputs.items()})

    def _tokens(self, texts: Sequence[str], *, longest: int, fill: bool) -> dict[str, "Tensor"]:
        """Tokenize; `fill` pads to `longest` tokens, otherwise to the longest text."""
        return dict(
            self._processor.tokenizer(
                list(texts),
                padding="max_length" if fill else True,
                truncation=True,
                max_length=longest,
                return_tensors="pt",
            )
        )

    def _by_caption(self, pixels: "Tensor", samples: Sequence[Sample]) -> list[Found]:
        """Grounding DINO: a box's label is what of the caption it answers to."""
        prompts = [prompt_of(s.caption) for s in samples]
        text = self._tokens(prompts, longest=self._model.config.max_text_len, fill=False)
        output = self._run(pixel_values=pixels, **text)
        results = self._processor.post_process_grounded_object_detection(
            _plain(output),
            input_ids=text["input_ids"],
            threshold=self._threshold,
            text_threshold=self._text_threshold,
        )
        found = []
        for s, result in zip(samples, results, strict=True):
            labels = [self._without_marks(label) for label in result["text_labels"]]
            box_n4, score_n = _numpy(result["boxes"]), _numpy(result["scores"])
            found.append(_found(s, box_n4, score_n, labels, named(labels, s.phrases)))
        return found

    def _without_marks(self, label: str) -> str:
        """Take off what the tokenizer has put around a caption, and its dot."""
        for mark in self._processor.tokenizer.all_special_tokens:
            label = label.replace(mark, "")
        return " ".join(label.split()).strip(" .")

    def _by_phrases(self, pixels: "Tensor", samples: Sequence[Sample]) -> list[Found]:
        """OWLv2 and OWL-ViT: every query has a score for every phrase."""
        longest = self._model.config.text_config.max_position_embeddings
        phrases = chain.from_iterable(padded([s.phrases for s in samples]))
        text = self._tokens(list(phrases), longest=longest, fill=True)
        output = _plain(
            self._run(
                pixel_values=pixels,
                input_ids=text["input_ids"],
                attention_mask=text["attention_mask"],
            )
        )
        found = []
        for i, s in enumerate(samples):
            one = SimpleNamespace(
                logits=output.logits[i : i + 1, :, : len(s.phrases)],
                pred_boxes=output.pred_boxes[i : i + 1],
            )
            width, height = s.size
            (result,) = self._processor.post_process_grounded_object_detection(
                one, threshold=self._threshold, target_sizes=[(height, width)]
            )
            box_n4 = _numpy(result["boxes"]) / np.array([width, height] * 2, np.float32)
            found.append(_of_phrases(s, box_n4, _numpy(result["scores"]), _numpy(result["labels"])))
        return found

    def _by_task(self, pixels: "Tensor", samples: Sequence[Sample]) -> list[Found]:
        """OmDet-Turbo: a task in words, phrases, and suppression of boxes that overlap."""
        import torch

        for kept in (self._model.language_cache_class, self._model.language_cache_prompt):
            kept.cache.clear()
            kept.current_load = 0
        longest = self._model.config.text_config.max_position_embeddings
        lists = padded([s.phrases for s in samples])
        classes = self._tokens(list(chain.from_iterable(lists)), longest=longest, fill=True)
        tasks = [f"Detect {', '.join(s.phrases)}." for s in samples]
        task = self._tokens(tasks, longest=longest, fill=True)
        output = self._run(
            pixel_values=pixels,
            classes_input_ids=classes["input_ids"],
            classes_attention_mask=classes["attention_mask"],
            tasks_input_ids=task["input_ids"],
            tasks_attention_mask=task["attention_mask"],
            classes_structure=torch.tensor([len(each) for each in lists]),
        )
        scores = _numpy(output.decoder_class_logits.sigmoid())
        boxes = _numpy(output.decoder_coord_logits)
        return [
            _of_phrases(s, *suppressed(box_Q4, score_QP[:, : len(s.phrases)], self._threshold))
            for s, box_Q4, score_QP in zip(samples, boxes, scores, strict=True)
        ]


def suppressed(
    box_Q4: NDArray[np.float32], score_QP: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.floating], NDArray[np.float32], NDArray[np.int64]]:
    """Post-process OmDet-Turbo's output as its processor does, without torchvision's operators.

    Args:
        box_Q4: Centre, width and height of a box, in [0, 1].
        score_QP: In [0, 1].
        threshold: A score has to be above it.

    Returns:
        Corners [n, 4], scores [n] and phrases [n] of the Q best pairs of a box and a phrase that
        are left, best first.
    """
    best = np.argsort(-score_QP.ravel(), kind="stable")[: len(box_Q4)]
    best = best[score_QP.ravel()[best] > threshold]
    query_n, phrase_n = np.divmod(best, score_QP.shape[1])
    score_n = score_QP[query_n, phrase_n]
    centre_n2, half_n2 = box_Q4[query_n, :2], box_Q4[query_n, 2:] / 2
    box_n4 = np.concatenate([centre_n2 - half_n2, centre_n2 + half_n2], 1)
    kept = suppress(box_n4, score_n, phrase_n, overlap=NMS_OVERLAP)
    return box_n4[kept], score_n[kept], phrase_n[kept]


def _of_phrases(
    sample: Sample,
    box_n4: NDArray[np.floating],
    score_n: NDArray[np.float32],
    phrase_n: NDArray[np.int64],
) -> Found:
    labels = [sample.phrases[p] for p in phrase_n]
    named_nP = phrase_n[:, None] == np.arange(len(sample.phrases))
    return _found(sample, box_n4, score_n, labels, named_nP)


def _found(
    sample: Sample,
    box_n4: NDArray[np.floating],
    score_n: NDArray[np.float32],
    labels: Sequence[str],
    named_nP: NDArray[np.bool_],
) -> Found:
    inside = np.clip(np.nan_to_num(box_n4), 0.0, 1.0).astype(np.float32)
    return Found(inside, score_n, labels, named_nP, sample.size)


def _plain(output: Any) -> SimpleNamespace:
    """Return logits and boxes as float32 on the CPU, as post-processing takes them."""
    logits, boxes = output.logits.float().cpu(), output.pred_boxes.float().cpu()
    return SimpleNamespace(logits=logits, pred_boxes=boxes)


def _numpy(tensor: "Tensor") -> NDArray[Any]:
    plain = tensor.float() if tensor.is_floating_point() else tensor
    return plain.cpu().numpy()


def _load(model: str, revision: str) -> tuple[Any, Any]:
    """Load processor and model in float32."""
    import torch

    from filters.open_clip_models import ensure_torchvision

    ensure_torchvision()  # transformers looks for it
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        processor = AutoProcessor.from_pretrained(model, revision=revision)
        detector = AutoModelForZeroShotObjectDetection.from_pretrained(
            model, revision=revision, dtype=torch.float32, use_safetensors=True
        )
    except OSError as error:
        raise FileNotFoundError(
            f"grounding: got model {model!r}, expected a folder or an id on the hub, reachable or "
            f"fetched before, with safetensors ({error})"
        ) from error
    return processor, detector.eval()
