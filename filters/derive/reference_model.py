"""Bits per token of a text under a causal language model of transformers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 16  # captions of one forward pass; logits of GPT-2 then take 400 MB at 128 tokens
LONGEST = 128  # tokens; of a longer caption the beginning is judged


def load_model(name: str) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    """Load a model and its tokenizer and return `bits_per_token` under it.

    Args:
        name: A model of the hub, or a folder.

    Raises:
        ValueError: The tokenizer has no token that a text could begin with.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from filters.open_clip_models import ensure_torchvision

    ensure_torchvision()  # transformers imports it with every model
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer: Any = AutoTokenizer.from_pretrained(name)
    model = AutoModelForCausalLM.from_pretrained(name).to(device).eval()
    ends = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    start = next((token for token in ends if token is not None), None)
    if start is None:
        raise ValueError(
            f"surprise: got model {name!r} without a token that begins or ends a text, expected "
            "one; take another model"
        )
    longest = min(LONGEST, getattr(model.config, "max_position_embeddings", LONGEST))

    def judge(captions: Sequence[str]) -> NDArray[np.float64]:
        tokens = tokenizer(list(captions), add_special_tokens=False)["input_ids"]
        runs = [torch.tensor([start, *run[: longest - 1]]) for run in tokens]
        bits_C = np.zeros(len(runs))
        order = sorted(range(len(runs)), key=lambda i: len(runs[i]))  # little padding
        for at in range(0, len(order), BATCH):
            some = order[at : at + BATCH]
            bits_C[some] = bits_per_token(model, [runs[i].to(device) for i in some])
        return bits_C

    return judge


def bits_per_token(model: Any, runs: Sequence[Any]) -> NDArray[np.float64]:
    """Return the mean of -log2 P over all tokens but the first of each run; 0 without any other.

    Args:
        model: A causal language model.
        runs: Token ids, int64 [tokens], each beginning with one that is given.

    Returns:
        float64 [B].
    """
    import torch
    from torch.nn.functional import cross_entropy
    from torch.nn.utils.rnn import pad_sequence

    padded_BT = pad_sequence(list(runs), batch_first=True)
    length_B = torch.tensor([len(run) for run in runs], device=padded_BT.device)
    there_BT = torch.arange(padded_BT.shape[1], device=padded_BT.device) < length_B[:, None]
    with torch.inference_mode():
        logits_BTV = model(input_ids=padded_BT, attention_mask=there_BT.long()).logits[:, :-1]
        nats_BT = cross_entropy(
            logits_BTV.float().flatten(0, 1), padded_BT[:, 1:].flatten(), reduction="none"
        ).view(len(runs), -1)
    sum_B = (nats_BT * there_BT[:, 1:]).double().sum(dim=1)
    return (sum_B / np.log(2) / (length_B - 1).clamp(min=1)).cpu().numpy()
