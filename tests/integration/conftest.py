"""A small whole run: real towers, no detectors, on the drawn pool."""

import pytest

from thresher import Run

CONFIG = """
[data]
shards = ["{shards}"]

[cells]
batch = 5

[[extract]]
kind = "image"
[[extract]]
kind = "caption"
[[extract]]
kind = "language"
[[extract]]
kind = "embed"

[alignment]
dim = 16
folds = 2
epochs = 3
batch_size = 16

[[rules]]
kind = "band"
name = "alignment"
column = "alignment"
by = "quantile"
keep = 0.5
drop = 0.2
[[rules]]
kind = "band"
name = "consensus"
column = "consensus"
by = "quantile"
keep = 0.5
drop = 0.2
[[rules]]
kind = "band"
name = "words"
column = "caption_words"
keep = 4.0

[ensemble]
prior = 0.5
keep_above = 0.5

[ensemble.model]
kind = "majority"

[dedup]
content = false
copy_bits = -1
similarity = 1.0

[concepts]
keep = 0.8

[concepts.cluster]
kind = "flat"
clusters = 3
"""


@pytest.fixture
def config(tmp_path, pool):
    """Return a function that writes the config, for these shards, and gives its path."""

    def write(shards=pool):
        path = tmp_path / "small.toml"
        path.write_text(CONFIG.format(shards=shards))
        return path

    return write


@pytest.fixture
def load(config):
    """Return a function (overrides) -> Run."""
    from pipeline.config import load_config

    def build(*overrides, **options):
        return load_config(config(**options), Run, overrides=overrides)

    return build
