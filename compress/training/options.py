"""The recipe's options of a training."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from compress.core.bounds import HEAVIEST, MOST_BATCHES_A_STEP, MOST_EPOCHS, MOST_SAMPLES_AT_ONCE
from compress.core.options import Options
from compress.errors import expected

Precision = Literal["fp32", "bf16", "fp16"]
Tracker = Literal["tensorboard", "mlflow", "wandb"]
"""A tool that shows figures of runs side by side; each needs an extra of its name."""
Alpha = Annotated[float, Field(gt=0, le=100)]
"""Value of both parameters of the beta distribution from which a mixture's share is drawn."""


class Augment(Options):
    """Random changes of training samples. They are drawn anew for each sample and epoch."""

    crop: int = Field(default=0, ge=0, le=64)
    """Largest shift of an image in both directions, in pixels; border pixels fill the gap."""
    flip: bool = False
    """Mirror half of the images, left to right."""
    mixup: Alpha | None = None
    """Blend each image and its label with another of its batch (Zhang et al., 2018). The shares
    are drawn from Beta(alpha, alpha). With `cutmix`, each is used for half of the batches."""
    cutmix: Alpha | None = None
    """Put a rectangle of another image of the batch into each image (Yun et al., 2019)."""
    mask_tokens: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of a text's tokens that are replaced by the tokenizer's mask token. Special tokens
    never are."""
    mix_embeddings: Alpha | None = None
    """Blend each text's word embeddings and its label with another text's of its batch (Guo et
    al., 2019)."""
    variants: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | None = None
    """Number of variants of each sample. Epochs use them in turn, so that a teacher's answers can
    be cached; null: new changes in each epoch."""

    @property
    def mixes(self) -> bool:
        """True if samples of a batch are mixed with one another."""
        return any(alpha is not None for alpha in (self.mixup, self.cutmix, self.mix_embeddings))

    @property
    def changes_images(self) -> bool:
        """True if an option for images is set."""
        return bool(self.crop or self.flip or self.mixup or self.cutmix)

    @property
    def changes_texts(self) -> bool:
        """True if an option for texts is set."""
        return bool(self.mask_tokens or self.mix_embeddings)

    @model_validator(mode="after")
    def _mixtures_have_no_variants(self) -> Self:
        if self.mixes and self.variants is not None:
            raise ValueError(
                expected("variants", "null where samples are mixed with others", self.variants)
            )
        return self


class GradientCompression(Options):
    """Gradients of low rank. The remainder is added to the next step's gradients."""

    rank_ratio: float = Field(gt=0, le=1)
    """Rank of a compressed gradient matrix, as a fraction of its shorter side."""


_SAID = {"text": "texts", "image": "images", "tensors": "tensors"}


class TrainingOptions(Options):
    """Epochs, optimizer, learning-rate schedule and arithmetic of one training."""

    epochs: int = Field(default=3, ge=1, le=MOST_EPOCHS)
    """Passes over the training split; the epoch that is best on validation is kept."""
    batch_size: int = Field(default=32, ge=1, le=MOST_SAMPLES_AT_ONCE)
    """Number of samples in one forward pass of all processes together."""
    accumulation_steps: int = Field(default=1, ge=1, le=MOST_BATCHES_A_STEP)
    """Number of batches whose gradients are averaged for one optimizer step."""
    optimizer: Literal["adamw", "adamw_8bit", "sgd"] = "adamw"
    """`sgd` has momentum 0.9 (Nesterov); `adamw_8bit` keeps its state in 8 bits and needs
    bitsandbytes."""
    learning_rate: float = Field(default=1e-4, gt=0, le=10)
    """Peak learning rate, after warm-up."""
    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    """Weight decay of matrices and kernels. Biases and normalisations have none."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Schedule by which the learning rate falls after warm-up."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the optimizer steps over which the learning rate rises to its peak."""
    precision: Precision = "fp32"
    """Precision of forward and backward passes. Weights stay fp32. `fp16` needs a GPU."""
    max_grad_norm: Annotated[float, Field(gt=0, le=HEAVIEST, allow_inf_nan=False)] | None = 1.0
    """Largest norm of the gradients; larger ones are scaled down to it. Null: no limit."""
    early_stopping: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | None = None
    """Number of epochs in a row without a better validation score after which training stops;
    null: never."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them. It takes less memory
    and more time. Only for transformers models."""
    compile: bool = False
    """Compile the model with torch.compile. It takes a minute at the start; steps are faster then.
    """
    gradient_compression: GradientCompression | None = None
    """Make gradients low-rank, so that processes send less; null: no compression."""
    trackers: tuple[Tracker, ...] = ()
    """Trackers that losses and scores are logged to."""
    augment: Augment | None = None
    """Random changes of training samples; null: none."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.gradient_compression is not None and self.precision == "fp16":
            raise ValueError(
                expected("precision", "fp32 or bf16 with 'gradient_compression'", self.precision)
            )
        if self.compile and self.augment is not None and self.augment.mix_embeddings is not None:
            raise ValueError(
                expected("compile", "false with 'mix_embeddings', which hooks the model", True)
            )
        return self

    def misfits(self, *, modality: str, target: str) -> Iterator[tuple[str, str]]:
        """(dotted key, problem) pairs of options that don't fit a task.

        Parameters
        ----------
        modality, target : see `compress.core.context.Task`.
        """
        augment = self.augment
        if augment is None:
            return
        if modality != "image" and augment.changes_images:
            yield (
                "augment",
                f"crop, flip, mixup and cutmix of 'augment' are for images. Got {_SAID[modality]}.",
            )
        if modality != "text" and augment.changes_texts:
            yield "augment", f"mask_tokens and mix_embeddings are for texts. Got {_SAID[modality]}."
        if augment.mixes and target not in ("class", "class-set"):
            yield (
                "augment",
                "mixup, cutmix and mix_embeddings need one label or label set for each sample. "
                f"Got a task whose target is {target!r}.",
            )

    def summarize(self) -> str:
        """A few words on the options, for the recipe check."""
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return f"{epochs}, {self.optimizer} {self.learning_rate:g}, {self.precision}"
