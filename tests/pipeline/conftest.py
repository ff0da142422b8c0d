"""One Ray for all tests here that need Ray Data."""

import logging

import pytest

from tests.endpoint import KEY


@pytest.fixture(scope="package")
def ray_data():
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_KEY", KEY)  # of the workers, too
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray.data
    ray.shutdown()
