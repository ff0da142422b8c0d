"""What every test may use: one intra-op thread, and a small pool of drawn pictures."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_ENABLE_UINT_METRICS", "0")

import pytest
import torch

from tests.toy import build_pool

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """Return a folder with three clean shards of 12 drawn pairs each."""
    return build_pool(tmp_path_factory.mktemp("pool"), shards=3, pairs=12)
