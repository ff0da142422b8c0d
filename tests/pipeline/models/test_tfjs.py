"""Small graphs written here, against numpy and scipy."""

import base64
import json

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from pipeline.models.tfjs import GraphModel
from pipeline.models.tfjs_graph import read_graph

VALID = {"padding": {"s": base64.b64encode(b"VALID").decode()}}
NHWC = {"data_format": {"s": base64.b64encode(b"NHWC").decode()}}


def ints(*values):
    return {"list": {"i": [str(value) for value in values]}}


def node(name, op, *inputs, **attributes):
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


@pytest.fixture
def graph(tmp_path):
    """Return a function that writes nodes and weights as TFJS does, reads them and builds."""

    def build(nodes, weights, *, half=(), outputs=("out",)):
        nodes = [node("x", "Placeholder"), *nodes, *(node(name, "Const") for name in weights)]
        entries, data = [], b""
        for name, value in weights.items():
            stored = value.astype("<f2" if name in half else value.dtype.newbyteorder("<"))
            data += stored.tobytes()
            entry = {"name": name, "shape": list(value.shape), "dtype": str(value.dtype)}
            if name in half:
                entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
            entries.append(entry)
        document = {
            "modelTopology": {"node": nodes[::-1]},  # no order is promised
            "weightsManifest": [{"paths": ["net.bin"], "weights": entries}],
            "signature": {"outputs": {f"{name}:0": {} for name in outputs}},
        }
        (tmp_path / "net.json").write_text(json.dumps(document), encoding="utf-8")
        (tmp_path / "net.bin").write_bytes(data)
        return GraphModel(read_graph(tmp_path / "net.json")).eval()

    return build


def int32(*values):
    return np.array(values, np.int32)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(model, value):
    with torch.inference_mode():
        return [output.numpy() for output in model(torch.from_numpy(value))]


def test_a_convolution_is_scipys_correlation(graph):
    kernel, bias = noise(3, 3, 2, 4), noise(4, seed=1)
    strided = {**VALID, **NHWC, "strides": ints(1, 2, 2, 1), "dilations": ints(1, 1, 1, 1)}
    model = graph(
        [node("conv", "Conv2D", "x", "kernel", **strided), node("out", "Add", "conv", "bias")],
        {"kernel": kernel, "bias": bias},
    )
    pixels = noise(3, 9, 7, 2, seed=2)
    (got,) = run(model, pixels)
    for n in range(3):
        for channel in range(4):
            whole = correlate(pixels[n], kernel[..., channel], mode="valid")[:, :, 0]
            np.testing.assert_allclose(
                got[n, :, :, channel], whole[::2, ::2] + bias[channel], atol=1e-5
            )


def test_resizing_is_by_pixel_centres(graph):
    centres = {"half_pixel_centers": {"b": True}, "align_corners": {"b": False}}
    model = graph([node("out", "ResizeBilinear", "x", "size", **centres)], {"size": int32(1, 4)})
    (got,) = run(model, np.array([0.0, 1.0], np.float32).reshape(1, 1, 2, 1))
    assert got.ravel().tolist() == [0.0, 0.25, 0.75, 1.0]


def test_padding_and_pooling(graph):
    window = {**VALID, **NHWC, "ksize": ints(1, 2, 2, 1), "strides": ints(1, 1, 1, 1)}
    model = graph(
        [
            node("padded", "PadV2", "x", "amounts", "fill"),
            node("out", "MaxPool", "padded", **window),
        ],
        {"amounts": int32([0, 0], [1, 0], [0, 2], [0, 0]), "fill": np.array(-9, np.float32)},
    )
    (got,) = run(model, np.array([[1, 2], [3, 4]], np.float32).reshape(1, 2, 2, 1))
    assert got[0, :, :, 0].tolist() == [[2, 2, -9], [4, 4, -9]]


def test_shape_arithmetic_is_folded_and_reshapes_follow_the_batch(graph):
    model = graph(
        [
            node("zeros", "SparseToDense", "where", "rank", "values", "default"),
            node("shape", "AddV2", "frozen", "zeros"),
            node("out", "Reshape", "x", "shape"),
        ],
        {
            "where": np.zeros((0, 1), np.int32),
            "rank": int32(3),
            "values": np.zeros(0, np.int32),
            "default": np.array(0, np.int32),
            "frozen": int32(1, 6, -1),
        },
    )
    pixels = noise(5, 2, 3, 4)
    np.testing.assert_array_equal(run(model, pixels)[0], pixels.reshape(5, 6, 4))


def test_split_outputs_and_the_rest_of_the_table(graph):
    model = graph(
        [
            node("parts", "SplitV", "x", "sizes", "axis"),
            node("turned", "Transpose", "parts:1", "order"),
            node("leaky", "LeakyRelu", "turned", alpha={"f": 0.5}),
            node("joined", "ConcatV2", "leaky", "leaky", "axis"),
            node("out", "Sigmoid", "joined"),
            node("out_2", "Identity", "parts"),
        ],
        {"sizes": int32(1, 2), "axis": np.array(1, np.int32), "order": int32(0, 2, 1)},
        outputs=("out_2", "out"),
    )
    x = noise(2, 3, 4)
    turned = x[:, 1:].transpose(0, 2, 1)
    leaky = np.where(turned > 0, turned, turned / 2)
    sigmoid, first = run(model, x)
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-np.tile(leaky, (1, 2, 1)))), rtol=1e-5)
    np.testing.assert_array_equal(first, x[:, :1])


def test_half_precision_weights_are_widened(graph):
    model = graph([node("out", "Add", "x", "w")], {"w": np.array([0.1], np.float32)}, half=("w",))
    assert run(model, np.zeros(1, np.float32))[0][0] == np.float32(np.float16(0.1))


def test_an_unknown_operator_is_named(graph):
    with pytest.raises(ValueError, match="got the operator Erf at out, expected one of Add"):
        run(graph([node("out", "Erf", "x")], {}), np.zeros(1, np.float32))


def test_another_layout_is_refused(graph):
    same = {**NHWC, "padding": {"s": base64.b64encode(b"SAME").decode()}}
    model = graph([node("out", "Conv2D", "x", "k", **same)], {"k": noise(1, 1, 1, 1)})
    with pytest.raises(ValueError, match="got out with SAME padding and NHWC, expected VALID"):
        run(model, np.zeros((1, 1, 1, 1), np.float32))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_weights_of_another_length_are_refused(graph, tmp_path, size):
    graph([node("out", "Add", "x", "w")], {"w": noise(8)})
    (tmp_path / "net.bin").write_bytes(bytes(size))
    with pytest.raises(ValueError, match=f"net.bin: got {size} bytes, expected 32 for 1 weights"):
        read_graph(tmp_path / "net.json")
