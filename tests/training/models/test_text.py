"""Texts are cut to what their embeddings depend on, where that is exact and nowhere else."""

import pytest
import torch

from filters.open_clip_models import build, tokenizer
from training.models.text import encode_text, trim, trunk_outputs

TEXTS = ["a red apple", "two cats asleep on a mat beside the stove"]
VISION = {"image_size": 32, "layers": 1, "width": 16, "head_width": 16, "patch_size": 16}
CAUSAL = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


def towers(text):
    torch.manual_seed(0)
    config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": text}
    return build(config).text, tokenizer(config)(TEXTS)


@pytest.mark.parametrize(
    "text", [{}, {"pool_type": "eos", "eos_id": 49407}, {"context_length": 13}], ids=str
)
def test_causal_towers_read_off_at_the_end(text):
    tower, tokens_BL = towers(CAUSAL | text)
    used = int((tokens_BL != 0).sum(1).max())
    assert trim(tower, tokens_BL).shape[1] == min(-(-used // 8) * 8, tokens_BL.shape[1])
    torch.testing.assert_close(encode_text(tower, tokens_BL), tower(tokens_BL), rtol=0, atol=3e-6)
    assert tower.attn_mask.shape == (tokens_BL.shape[1],) * 2  # the tower is left as it was


def test_gradients_of_a_trimmed_batch_are_the_whole_ones():
    tower, tokens_BL = towers(CAUSAL)

    def gradients(encode):
        tower.zero_grad()
        encode(tower, tokens_BL).square().sum().backward()
        return {n: p.grad.clone() for n, p in tower.named_parameters()}

    whole, trimmed = gradients(lambda tower, t: tower(t)), gradients(encode_text)
    for name, gradient in whole.items():
        torch.testing.assert_close(trimmed[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "text",
    [
        {"no_causal_mask": True, "pool_type": "last"},
        {"no_causal_mask": True},
        {"pool_type": "last"},
        {"embed_cls": True},
    ],
    ids=str,
)
def test_towers_that_look_at_their_padding_get_all_of_it(text):
    """Cutting it would change what they say."""
    tower, tokens_BL = towers(CAUSAL | text)
    assert trim(tower, tokens_BL).shape == tokens_BL.shape
    padded_BL = tokens_BL.clone()
    padded_BL[:, -1] = 7
    assert (tower(padded_BL) - tower(tokens_BL)).abs().max() > 1e-4


def test_bytes_are_cut_exactly():
    tower, bytes_BL = towers({"context_length": 256, "bytes": {"width": 16}})
    assert trim(tower, bytes_BL).shape[1] == 48  # 41 letters, a start byte, to a multiple of 8
    torch.testing.assert_close(encode_text(tower, bytes_BL), tower(bytes_BL), rtol=0, atol=1e-6)
    said_BW = trunk_outputs(tower, bytes_BL)
    torch.testing.assert_close(tower.proj(said_BW), tower(bytes_BL), rtol=0, atol=1e-6)
