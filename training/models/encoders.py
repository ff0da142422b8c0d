"""ConvNets for `towers.image`: what timm calls them, and what they take. The README prints this."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """A family of towers.

    Attributes:
        family: As its paper calls it.
        paper: On arXiv.
        names: timm's.
        tested: The small member that a test builds and steps.
        drop_path: Whether its builder takes a rate of stochastic depth.
        checkpointing: Whether its activations can be recomputed.
        batch_norm: Whether it has BatchNorm, so that a step cannot be cut into micro-batches.
        in_open_clip: Whether plain open_clip 3.3 can run it, and so loads its checkpoint.
        channels_last: `gains`, `same` or `loses`; the training step takes it but where it loses.
        side: Pixels of the smallest picture it takes.
    """

    family: str
    paper: str
    names: str
    tested: str
    drop_path: bool = True
    checkpointing: bool = True
    batch_norm: bool = True
    in_open_clip: bool = True
    channels_last: str = "gains"
    side: int = 32


ENCODERS = (
    Encoder(
        family="ConvNeXt", paper="2201.03545", names="`convnext_{zepto_rms ... xxlarge}`",
        tested="test_convnext", batch_norm=False, channels_last="same",
    ),
    Encoder(
        family="ConvNeXt V2", paper="2301.00808", names="`convnextv2_{atto ... huge}`",
        tested="convnextv2_atto", batch_norm=False, channels_last="same",
    ),
    Encoder(
        family="InceptionNeXt", paper="2303.16900",
        names="`inception_next_{atto, tiny, small, base}`", tested="inception_next_atto",
        in_open_clip=False,
    ),
    Encoder(
        family="RDNet", paper="2403.19588", names="`rdnet_{tiny, small, base, large}`",
        tested="rdnet_tiny", batch_norm=False, channels_last="same",
    ),
    Encoder(
        family="NFNet", paper="2102.06171",
        names="`nfnet_f0 ... f7`, `dm_nfnet_f0 ... f6`, `eca_nfnet_l0 ... l3`",
        tested="test_nfnet", batch_norm=False, channels_last="loses",
    ),
    Encoder(
        family="EfficientNet", paper="1905.11946",
        names="`efficientnet_b0 ... b8`, `efficientnetv2_*`", tested="test_efficientnet",
    ),
    Encoder(
        family="CondConv", paper="1904.04971", names="`efficientnet_cc_{b0_4e, b0_8e, b1_8e}`",
        tested="efficientnet_cc_b0_4e",
    ),
    Encoder(
        family="ResNet", paper="1512.03385", names="`resnet18 ... resnet152`, `resnet50d`",
        tested="test_resnet",
    ),
    Encoder(
        family="Wide ResNet", paper="1605.07146", names="`wide_resnet50_2`, `wide_resnet101_2`",
        tested="wide_resnet50_2",
    ),
    Encoder(
        family="DenseNet", paper="1608.06993", names="`densenet121, 161, 169, 201, 264d`",
        tested="densenet121", drop_path=False,
    ),
    Encoder(
        family="VGG", paper="1409.1556", names="`vgg11, 13, 16, 19`, with BatchNorm `vgg11_bn ...`",
        tested="vgg11", drop_path=False, checkpointing=False, batch_norm=False, in_open_clip=False,
    ),
    Encoder(
        family="Inception v3", paper="1512.00567", names="`inception_v3`", tested="inception_v3",
        drop_path=False, checkpointing=False, side=75,
    ),
    Encoder(
        family="ConvMixer", paper="2201.09792",
        names="`convmixer_768_32`, `convmixer_1024_20_ks9_p14`, `convmixer_1536_20`",
        tested="convmixer_1024_20_ks9_p14", drop_path=False,
    ),
    Encoder(
        family="DLA", paper="1707.06484", names="`dla34 ... dla169`", tested="dla46_c",
        drop_path=False, checkpointing=False,
    ),
    Encoder(
        family="FBNetV3", paper="2006.02049", names="`fbnetv3_{b, d, g}`", tested="fbnetv3_b",
        in_open_clip=False,
    ),
)  # fmt: skip


def markdown() -> str:
    """Return the table as the README has it."""
    head = (
        "| family | `towers.image` | `drop_path` | `checkpointing` | BatchNorm "
        "| channels_last | loads in open_clip 3.3 |"
    )
    rows = [
        f"| [{e.family}](https://arxiv.org/abs/{e.paper}) | {e.names} | {_said(e.drop_path)} "
        f"| {_said(e.checkpointing)} | {_said(e.batch_norm)} | {e.channels_last} "
        f"| {_said(e.in_open_clip)} |"
        for e in ENCODERS
    ]
    return "\n".join([head, "| --- " * 7 + "|", *rows])


def _said(value: bool) -> str:
    return "yes" if value else "no"
