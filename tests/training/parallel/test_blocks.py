"""Blocks of any tower are found, sharded over 64 ranks, and compiled once for each kind."""

import re
import sys
from collections import Counter

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from filters.open_clip_models import ensure_torchvision
from tests.training.parallel.towers import batches, model_of
from training.config import Parallel
from training.models.encoder import PairEncoder
from training.parallel.apply import parallelise
from training.parallel.blocks import blocks, towers
from training.parallel.ranks import ALONE, Ranks

# What each net's paper calls its block, and how many its smallest usual size has.
KNOWN = {
    "convnext_tiny": {"ConvNeXtBlock": 18},
    "convnextv2_atto": {"ConvNeXtBlock": 12},
    "inception_next_atto": {"MetaNeXtBlock": 12},
    "resnet50d": {"Bottleneck": 16},
    "densenet121": {"DenseLayer": 58},
    "nfnet_f0": {"NormFreeBlock": 12},
    "efficientnet_b0": {"DepthwiseSeparableConv": 1, "InvertedResidual": 15},
    "vit_tiny_patch16_224": {"Block": 12},
    "dla34": {"DlaBasic": 12},
    "convmixer_768_32": {"Sequential": 32},
    "vgg11": {"Conv2d": 8},
}


@pytest.fixture
def many():
    """Return the first of 64 ranks that are not there: layouts without communication."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=64)
    yield Ranks(0, 64, torch.device("cpu"))
    dist.destroy_process_group()


@pytest.mark.parametrize("name", KNOWN)
def test_the_blocks_of_timm_are_found(name):
    ensure_torchvision()
    import timm

    with torch.device("meta"):
        found = blocks(timm.create_model(name, num_classes=0))
    assert Counter(type(block).__name__ for block in found) == KNOWN[name]
    inside = [m for block in found for m in block.modules()]
    assert len({id(m) for m in inside}) == len(inside)  # none in another


@pytest.mark.parametrize(
    ("image", "kind"),
    [("vit", "ResidualAttentionBlock"), ("test_convnext", "ConvNeXtBlock"), ("test_vit", "Block")],
)
def test_every_block_is_a_group_of_shards(many, tmp_path, image, kind):
    model = model_of(image, tmp_path)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    encoder = PairEncoder(model, precision="float32", frozen_text=False)
    encoder = parallelise(encoder, Parallel(kind="fsdp"), ranks=many)
    picture, text = towers(encoder)
    for tower, name in ((picture, kind), (text, "ResidualAttentionBlock")):
        named = [m for m in tower.modules() if name in type(m).__name__]
        assert named
        assert all(isinstance(m, FSDPModule) for m in named)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 0:
            assert not isinstance(parameter, DTensor)
            continue
        rows = -(-shapes[name][0] // 64)  # the first rank holds the first of 64 parts
        assert parameter.to_local().shape == (rows, *shapes[name][1:]), name
    features = encoder(*_inputs())
    (features.image_BD.sum() + features.text_BD.sum() + features.scale).backward()
    assert all(p.grad is not None for p in encoder.parameters() if p.ndim > 1)


@pytest.mark.filterwarnings("ignore::UserWarning")  # dynamo looks at every tensor's gradient
def test_each_kind_of_block_is_compiled_once(tmp_path):
    """Six blocks of a ViT and two of a text tower: two graphs, and the same features."""
    encoder = PairEncoder(model_of("test_vit", tmp_path), precision="float32", frozen_text=False)
    encoder.eval()
    plain = encoder(*_inputs())
    kept = [name for name, _ in encoder.named_parameters()]
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    same = parallelise(encoder, Parallel(compile="blocks"), ranks=ALONE, backend=backend)
    assert same is encoder
    compiled = encoder(*_inputs())
    for ours, theirs in zip(compiled, plain, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert len(graphs) == 2
    assert [name for name, _ in encoder.named_parameters()] == kept


@pytest.mark.skipif(sys.platform != "linux", reason="other systems name other compilers")
@pytest.mark.parametrize("compiler", [None, "no-such-compiler"])
def test_compiling_without_a_compiler_is_refused(tmp_path, monkeypatch, compiler):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if compiler:
        monkeypatch.setenv("CXX", compiler)
    match = rf"parallel.compile: got 'model' without {re.escape(compiler or 'g++')}, .*'off'"
    with pytest.raises(ValueError, match=match):
        parallelise(nn.Linear(1, 1), Parallel(compile="model"), ranks=ALONE)


@pytest.mark.parametrize(
    ("image", "wanted", "last"),
    [
        ("test_resnet", "auto", True),
        ("test_resnet", "off", False),
        ("test_nfnet", "auto", False),
        ("test_nfnet", "on", True),
    ],
)
def test_the_memory_format_goes_by_the_family(tmp_path, image, wanted, last):
    encoder = PairEncoder(model_of(image, tmp_path), precision="float32", frozen_text=False)
    encoder.eval()
    plain = encoder(*_inputs())
    parallelise(encoder, Parallel(channels_last=wanted), ranks=ALONE)
    seen = []
    first = next(m for m in towers(encoder)[0].modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    laid_out = encoder(*_inputs())
    assert seen[0].is_contiguous(memory_format=torch.channels_last) == last
    torch.testing.assert_close(laid_out.image_BD, plain.image_BD, atol=1e-5, rtol=1e-4)


def test_a_graph_of_what_is_never_whole_is_refused():
    with pytest.raises(ValueError, match=r"parallel.compile: got model, expected 'blocks' beside"):
        Parallel(kind="fsdp", compile="model")


def _inputs():
    batch = batches(7, ALONE)[0]
    return batch.pixels_BHWC, batch.text_BL
