"""The losses a student minimises, each averaged over samples and computed in fp32."""

from torch import Tensor
from torch.nn import functional as F


def response(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) of the softened probabilities (Hinton et al., 2015).

    T² keeps the gradient's size the same whatever the temperature.

    Parameters
    ----------
    student_logits, teacher_logits : (N, C).
    temperature : T, what both are divided by before the softmax.

    Returns
    -------
    A scalar; 0, with gradient 0, where the two are equal up to a constant for each sample.
    """
    student = F.log_softmax(student_logits.float() / temperature, dim=-1)
    teacher = F.log_softmax(teacher_logits.float() / temperature, dim=-1)
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def labels(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with smoothed labels (Szegedy et al., 2016).

    Parameters
    ----------
    logits : (N, C).
    targets : (N,), class indices.
    label_smoothing : in [0, 1), the probability that is spread evenly over all classes.

    Returns
    -------
    A scalar.
    """
    return F.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing)
