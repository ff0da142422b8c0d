"""A run that begins anew beside one that was cut off says so."""

from contextlib import nullcontext

from pipeline.folder import Folder
from training.runs.runtime import Here
from training.trials import Trials


def test_a_run_of_other_settings_names_the_unfinished_one(tmp_path, caplog):
    trials = Trials(
        out=Folder(str(tmp_path)), seed=0, here=Here(), address="off", exam=None,
        watched=lambda _: nullcontext(print),
    )  # fmt: skip
    for name in ("train/subset-cut/state/step-00000002", "train/subset-done/state/step-00000002",
                 "train/random-cut/state/step-00000002", "train/subset-done/checkpoint",
                 "train/subset-young"):  # fmt: skip
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "train/subset-done/checkpoint/train.json").write_text("{}")
    place = trials.out / "train" / "subset"
    assert trials._folder(place, "cut").url == f"{tmp_path}/train/subset-cut"
    assert not caplog.records
    assert trials._folder(place, "new").url == f"{tmp_path}/train/subset-new"
    (told,) = caplog.records
    assert f"{tmp_path}/train/subset-new begins anew" in told.getMessage()
    assert f"not those of {tmp_path}/train/subset-cut, which is unfinished" in told.getMessage()
