"""What a recipe says about a training."""

from typing import Annotated, Literal

from pydantic import Field

from compress.core.stage import Options


class Augment(Options):
    """Random changes of training images, drawn anew for each sample."""

    crop: int = Field(default=0, ge=0, le=64)
    """Shift each image by up to so many pixels in both directions; border pixels fill the gap."""
    flip: bool = False
    """Mirror half of the images, left to right."""


class TrainingOptions(Options):
    """Epochs, optimizer, learning-rate schedule and arithmetic of one training."""

    epochs: int = Field(default=3, ge=1)
    """Passes over the training split; the epoch that is best on validation is kept."""
    batch_size: int = Field(default=32, ge=1)
    """Samples in one forward pass."""
    accumulation_steps: int = Field(default=1, ge=1)
    """Batches whose gradients are averaged into one optimizer step."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """`sgd` has momentum 0.9 (Nesterov)."""
    learning_rate: float = Field(default=1e-4, gt=0, le=10)
    """The peak, after warm-up."""
    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    """Applied to weight matrices and kernels; never to biases and normalisations."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after warm-up."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the optimizer steps over which the learning rate rises to its peak."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of forward and backward passes; weights stay fp32. `fp16` needs a GPU."""
    max_grad_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 1.0
    """Gradients are scaled down to this norm where theirs is larger; null: never."""
    augment: Augment | None = None
    """Random crops and flips; for images only."""

    def summarize(self) -> str:
        """A few words for the recipe check."""
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return f"{epochs}, {self.optimizer} {self.learning_rate:g}, {self.precision}"
