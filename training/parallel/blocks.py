"""The repeated parts of a tower, whoever built it: what is sharded and compiled one by one.

timm has no common name for them (`stages.0.blocks.1`, `layer1.0`, `features.denseblock1`), so they
are found by what they are: parts that stand in a row and hold several weights.
"""

from collections import Counter
from collections.abc import Callable

from torch import nn

ROWS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
TOWERS = ("visual", "text")  # of an open_clip model, and of the encoders that hold one

Rule = Callable[[nn.Module, bool], bool]  # a module, and whether it stands in a row -> a block?


def blocks(tower: nn.Module) -> list[nn.Module]:
    """Return the innermost repeated parts of a tower, in the order of its modules.

    Parts in a row (ConvNeXt, ResNet, transformers, ...); failing that, parts whose class occurs
    again (DLA, Inception); failing that, single layers in a row (VGG). Never one inside another.
    """
    kinds = Counter(type(module) for module in tower.modules())

    def in_a_row(module: nn.Module, listed: bool) -> bool:
        return listed and _num_weights(module) > 1

    def repeated(module: nn.Module, listed: bool) -> bool:
        del listed
        again = kinds[type(module)] > 1 and not isinstance(module, ROWS)
        return again and _num_weights(module) > 1

    def layer(module: nn.Module, listed: bool) -> bool:
        return listed and _num_weights(module) == 1

    rules: tuple[Rule, ...] = (in_a_row, repeated, layer)
    return next((found for rule in rules if (found := _innermost(tower, rule))), [])


def towers(encoder: nn.Module) -> list[nn.Module]:
    """Return the towers of an encoder, or of a model."""
    names = [f"{prefix}{tower}" for prefix in ("", "model.") for tower in TOWERS]
    parts = dict(encoder.named_modules())
    return [parts[name] for name in names if name in parts]


def _num_weights(module: nn.Module) -> int:
    """Count the layers that hold a matrix or a kernel; gains are none."""
    owned = ([p for p in m.parameters(recurse=False) if p.ndim > 1] for m in module.modules())
    return sum(bool(weights) for weights in owned)


def _innermost(tower: nn.Module, rule: Rule) -> list[nn.Module]:
    found: list[nn.Module] = []

    def holds(module: nn.Module, listed: bool) -> bool:
        inside = [holds(child, isinstance(module, ROWS)) for child in module.children()]
        if any(inside):
            return True
        if rule(module, listed):
            found.append(module)
            return True
        return False

    holds(tower, False)
    return found
