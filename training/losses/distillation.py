"""How far a student's embeddings are from its teacher's. Shape letters: B pairs, D embedding."""

from torch import Tensor


def feature_l2(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """Squared distance of unit-norm embeddings, 2 - 2 cos, mean over the batch (arXiv:2404.16637).

    Args:
        student_BD: Unit-norm embeddings to be moved.
        teacher_BD: Unit-norm embeddings to be met; no gradient is asked of them.

    Returns:
        Scalar in [0, 4]: summed over D, so that its size does not depend on the width.
    """
    return (student_BD - teacher_BD).square().sum(dim=1).mean()
