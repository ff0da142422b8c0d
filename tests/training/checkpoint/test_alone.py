"""One run at a time in a folder."""

import pytest

from pipeline.folder import Folder
from training.checkpoint.alone import alone
from training.parallel.ranks import ALONE
from training.runs.runtime import FOREVER
from training.runs.talk import Talk


def test_a_folder_is_one_run_s_until_it_ends(out):
    talk = Talk(ALONE, patience=FOREVER)
    for _ in range(2):  # the second time after the first has ended
        with (
            alone(out, talk),
            pytest.raises(RuntimeError, match=r"in which another process trains.* wait"),
            alone(Folder(out.url), talk),
        ):
            pass
    with alone(out, talk), alone(out / "other", talk):
        pass


def test_an_object_store_has_no_lock(remote):
    talk = Talk(ALONE, patience=FOREVER)
    with alone(remote, talk), alone(remote, talk):
        assert not remote.names()
