"""Settings of the two towers: what is changed in the model that a config names."""

from dataclasses import dataclass

from training.config.rule import require


@dataclass(frozen=True, kw_only=True, slots=True)
class Towers:
    """Changes of the model's towers; the defaults change nothing.

    Attributes:
        image: A timm trunk by name (`convnext_tiny`) in place of the model's image tower.
        image_pretrained: Start the trunk from timm's own weights; pictures are then normalised as
            those expect, and otherwise as open_clip does.
        image_size: Pixels of a side; 0 leaves the model's.
        text: `bytes` (a ConvNet over UTF-8 bytes) or a Hugging Face model in place of the model's
            text tower.
        lock_image: Freeze the image tower below its projection (LiT, arXiv:2111.07991).
        lock_text: Freeze the text tower below its projection; what it says of a caption is then
            computed once.
        unlocked: Groups of layers, counted from the end, that a locked tower still trains;
            open_clip's own towers count their projection as one.
        checkpointing: Recompute activations in the backward pass instead of keeping them.
        patch_dropout: Share of a ViT's patches left out in training (FLIP, arXiv:2212.00794).
        drop_path: Stochastic depth's rate at the last block (arXiv:1603.09382).
        matryoshka: Further, smaller widths whose leading dimensions are trained to work alone
            (arXiv:2205.13147); the loss is the sum over all widths.
    """

    image: str = ""
    image_pretrained: bool = False
    image_size: int = 0
    text: str = ""
    lock_image: bool = False
    lock_text: bool = False
    unlocked: int = 0
    checkpointing: bool = False
    patch_dropout: float = 0.0
    drop_path: float = 0.0
    matryoshka: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse shares out of range, and what would do nothing."""
        require("towers.image_size", self.image_size, "at least 0", self.image_size >= 0)
        require("towers.unlocked", self.unlocked, "at least 0", self.unlocked >= 0)
        rate = self.patch_dropout
        require("towers.patch_dropout", rate, "in [0, 1)", 0 <= rate < 1)
        require("towers.drop_path", self.drop_path, "in [0, 1)", 0 <= self.drop_path < 1)
        widths = self.matryoshka
        distinct = len(set(widths)) == len(widths) and all(w >= 1 for w in widths)
        require("towers.matryoshka", widths, "widths of at least 1, each once", distinct)
        locked = self.lock_image or self.lock_text or not self.unlocked
        rule = "0 where neither lock_image nor lock_text is set"
        require("towers.unlocked", self.unlocked, rule, locked)

    @property
    def frozen_text(self) -> bool:
        """Whether what the text trunk says of a caption never changes."""
        return self.lock_text and not self.unlocked
