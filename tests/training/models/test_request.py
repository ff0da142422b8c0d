"""Models that cannot be had are known before anything is scored or trained."""

import json
from pathlib import Path

import pytest

from training.config import Distill, Towers, Train
from training.models.request import check_models


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "ViT-B-33"}, r"model: got 'ViT-B-33', .*'ViT-B-32'"),
        ({"towers": Towers(image="convnxt_tiny")}, r"towers\.image: got .*'convnext_tiny'"),
        ({"model": "RN50", "pretrained": "opnai"}, r"pretrained: got 'opnai', .*\['openai'\]"),
        ({"model": "RN50", "pretrained": "x"}, r"do you mean one of \['openai', 'yfcc15m', "),
    ],
)
def test_what_does_not_exist_is_named_with_its_neighbours(wrong, message):
    with pytest.raises(ValueError, match=message):
        check_models(Train(**{"model": "ViT-B-32", **wrong}), None)


def test_what_exists_is_let_through(tmp_path):
    for pretrained in ("openai", "OpenAI", str(Path(__file__))):
        check_models(Train(model="RN50", pretrained=pretrained), None)
    check_models(Train(model="s3://nowhere/model.json"), Distill(model="hf-hub:nobody/nothing"))


def test_a_student_meets_its_teacher_as_the_towers_make_it(tiny_model, tmp_path):
    """A teacher of bytes has a student of bytes, and none of the words its own file names."""
    plain, student = Train(model=tiny_model), tmp_path / "student.json"
    of_bytes = Train(model=tiny_model, towers=Towers(image="test_convnext", text="bytes"))
    document = json.loads(Path(tiny_model).read_text())
    student.write_text(json.dumps(document))
    check_models(plain, Distill(model=str(student)))
    with pytest.raises(ValueError, match=r"distill.model: got text_cfg .* expected the teacher's"):
        check_models(of_bytes, Distill(model=str(student)))
    student.write_text(json.dumps({**document, "embed_dim": 48}))
    with pytest.raises(ValueError, match="got embed_dim 48, expected the teacher's 64"):
        check_models(plain, Distill(model=str(student)))
