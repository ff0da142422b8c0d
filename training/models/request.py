"""What can be said of a run's models before anything is scored, trained or built."""

import json

from filters.open_clip_models import model_config, require_weights
from filters.timm_trunks import TRUNK, check_trunk
from training.config import Distill, Towers, Train
from training.models.document import ModelConfig, with_towers


def check_models(train: Train, distill: Distill | None) -> None:
    """Refuse models that do not exist, and a student that does not go with its teacher.

    What lies at a URL or on a hub is not fetched for it.

    Raises:
        ValueError: With near names.
    """
    teacher = _document(train.model, train.towers)
    require_weights(train.model, train.pretrained)
    student = _document(distill.model, Towers()) if distill is not None else None
    if student is not None and teacher is not None:
        require_taught(student, teacher)


def require_taught(student: ModelConfig, teacher: ModelConfig) -> None:
    """Refuse a student that differs from its teacher in more than the image tower.

    Raises:
        ValueError: It does.
    """
    for part in ("embed_dim", "text_cfg"):
        if student[part] != teacher[part]:
            raise ValueError(
                f"distill.model: got {part} {student[part]}, expected the teacher's "
                f"{teacher[part]}; only vision_cfg may differ in the student's model JSON"
            )


def _document(name: str, towers: Towers) -> ModelConfig | None:
    if ":" in name:
        return None
    wanted = with_towers(model_config(name), towers)
    if TRUNK in wanted["vision_cfg"]:
        check_trunk(wanted["vision_cfg"][TRUNK])
    return json.loads(json.dumps(wanted))  # as a checkpoint has it
