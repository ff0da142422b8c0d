"""What every test may use: one thread per process, and a small pool of drawn pictures."""

import os
from pathlib import Path

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

# A file is one process's from its first test to its last, so these, the longest first, may not come
# late: the other process would have nothing left to do meanwhile.
LONGEST = (
    "integration/test_demo.py",
    "integration/test_cli.py",
    "training/runs/test_ray_train.py",
    "integration/test_flow.py",
    "integration/test_faults.py",
    "integration/test_again.py",
    "integration/test_poison.py",
    "integration/test_cluster.py",
    "integration/test_detection.py",
    "integration/test_urls.py",
    "training/test_loop.py",
    "training/runs/test_torchrun.py",
)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    rank = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


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
