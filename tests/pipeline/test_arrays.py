"""Arrays come back as they went, or the file is named."""

import numpy as np
import pytest

from pipeline.columns.arrays import read_arrays, write_arrays


@pytest.mark.parametrize("place", ["out", "remote"])
def test_arrays_come_back(request, place):
    folder = request.getfixturevalue(place)
    held = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "flag": np.array(True)}
    write_arrays(folder, "x.npz", held)
    write_arrays(folder, "y.npz", held)
    assert folder.read("x.npz") == folder.read("y.npz")
    found = read_arrays(folder, "x.npz")
    assert {name: (a.dtype, a.tolist()) for name, a in found.items()} == {
        name: (a.dtype, a.tolist()) for name, a in held.items()
    }


def test_what_is_no_array_file_is_named(out):
    with pytest.raises(FileNotFoundError):
        read_arrays(out, "x.npz")
    write_arrays(out, "x.npz", {"a": np.arange(9)})
    whole = out.read("x.npz")
    for damaged in (b"", b"nonsense", whole[:-30], whole[:100]):
        out.write("x.npz", damaged)
        with pytest.raises(ValueError, match=r"got .*x\.npz, expected an \.npz file"):
            read_arrays(out, "x.npz")
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays(out, "y.npz", {"a": np.array([object()])})
    assert not out.exists("y.npz")
