"""What every test may use: one thread per process, and a small pool of drawn pictures."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_ENABLE_UINT_METRICS", "0")
# Before numpy is imported, and of the processes that tests start, too: where several tests run at
# once, BLAS's threads wait for each other busily, and an `eigh` takes ten times the processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import fsspec
import pytest
import torch

from pipeline.folder import Folder
from tests.faulty import faulty_store
from tests.toy import build_pool

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """Return a folder with three clean shards of 12 drawn pairs each."""
    return build_pool(tmp_path_factory.mktemp("pool"), shards=3, pairs=12)


@pytest.fixture
def out(tmp_path):
    """Return a folder on the local disk that is not there yet."""
    return Folder(str(tmp_path / "out"))


@pytest.fixture
def remote(tmp_path):
    """Return a folder on no disk, emptied afterwards: memory:// lasts as long as the process."""
    yield Folder(f"memory://{tmp_path.name}/out")
    fs = fsspec.filesystem("memory")
    fs.rm(tmp_path.name, recursive=True) if fs.exists(tmp_path.name) else None


@pytest.fixture(scope="module")
def network():
    """Run an object store behind a proxy."""
    with faulty_store() as proxy:
        yield proxy


@pytest.fixture
def proxy(network):
    """Return the way to the store, without faults and without requests seen."""
    network.reset()
    return network
