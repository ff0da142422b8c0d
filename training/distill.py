"""Distillation: a smaller image tower learns the teacher's embeddings and keeps its text tower."""

from filters.open_clip_models import tokenizer
from pipeline.folder import Folder
from pipeline.pairs import Pairs
from training.checkpoint.folder import TrainingFolder, identify
from training.config import Distill
from training.evaluation.judge import Exam, judge_of
from training.loop import OnStep, fit
from training.models.build import ClipModel, ModelConfig, build_model, load_model
from training.models.request import require_taught
from training.objectives import FeatureDistillation
from training.parallel.ranks import Ranks, device_of
from training.runs.runtime import Here, Runtime


def distill(
    cfg: Distill,
    teacher: Folder,
    pairs: Pairs,
    *,
    out: Folder,
    seed: int,
    runtime: Runtime | None = None,
    exam: Exam | None = None,
    on_step: OnStep | None = None,
) -> Folder:
    """Teach a smaller image tower by feature L2 on the pairs' pictures (arXiv:2404.16637).

    Args:
        cfg: The run.
        teacher: Checkpoint folder of the teacher.
        pairs: Whose pictures are shown; captions are not used.
        out: Folder of this run: metrics, state, checkpoint.
        seed: Weights, order and augmentation follow from it; at least 0.
        runtime: Who started this process; None if nobody else trains with it.
        exam: What the student is judged by every `log.evaluate_every` steps; None judges never.
        on_step: Gets the metrics of every step.

    Returns:
        The folder of an ordinary checkpoint: the student's image tower and the teacher's text
        tower, so that zero-shot needs nothing new. At once, without touching data, if it is there.

    Raises:
        ValueError: `out` holds another run, or the student does not go with the teacher.
        Interrupted: Somebody asked for an end; the state is saved.
        RuntimeError: Too many steps in a row were not finite.
    """
    identity = identify(cfg, pairs, seed=seed, teacher=teacher)
    folder = TrainingFolder(out, identity=identity, keep=cfg.save.keep)
    if folder.finished:
        return folder.checkpoint
    teacher_model, teacher_cfg = load_model(teacher)
    student, student_cfg = build_model(cfg.model, seed=seed)
    student_cfg = inherit(student, student_cfg, teacher_model, teacher_cfg)
    runtime = runtime or Here(Ranks(device=device_of(cfg.device)))
    ranks = runtime.ranks
    student, teacher_model = student.to(ranks.device), teacher_model.to(ranks.device)
    objective = FeatureDistillation(cfg, student, teacher_model, ranks=ranks)
    judge = judge_of(cfg, exam, objective, tokenizer(student_cfg), ranks=ranks)
    step, summary = fit(
        cfg, objective, pairs, folder=folder, seed=seed, runtime=runtime, judge=judge,
        on_step=on_step,
    )  # fmt: skip
    with step.shown():
        return folder.finish(student, student_cfg, summary, ranks=ranks)


def inherit(
    student: ClipModel, student_cfg: ModelConfig, teacher: ClipModel, teacher_cfg: ModelConfig
) -> ModelConfig:
    """Give the student everything of the teacher but the image tower; return its new document.

    Raises:
        ValueError: The two differ in more than the image tower.
    """
    require_taught(student_cfg, teacher_cfg)
    student.logit_bias = teacher.logit_bias
    kept = {k: v for k, v in teacher.state_dict().items() if not k.startswith("visual.")}
    missing, unexpected = student.load_state_dict(kept, strict=False)
    assert not unexpected
    assert all(name.startswith("visual.") for name in missing)
    return {**teacher_cfg, "vision_cfg": student_cfg["vision_cfg"]}
