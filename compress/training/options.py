"""What a recipe says about a training."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from compress.core.bounds import HEAVIEST, MOST_BATCHES_A_STEP, MOST_EPOCHS, MOST_SAMPLES_AT_ONCE
from compress.core.options import Options
from compress.errors import expected

Precision = Literal["fp32", "bf16", "fp16"]
Alpha = Annotated[float, Field(gt=0, le=100)]
"""Both parameters of the beta distribution that a mixture's share is drawn from."""


class Augment(Options):
    """Random changes of training samples; drawn anew for each sample and epoch."""

    crop: int = Field(default=0, ge=0, le=64)
    """Shift each image by up to so many pixels in both directions; border pixels fill the gap."""
    flip: bool = False
    """Mirror half of the images, left to right."""
    mixup: Alpha | None = None
    """Blend each image and its label with another's of its batch (Zhang et al., 2018); the shares
    are drawn from Beta(alpha, alpha). With `cutmix`: each for half of the batches."""
    cutmix: Alpha | None = None
    """Put a rectangle of another image of the batch into each (Yun et al., 2019)."""
    mask_tokens: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of a text's tokens that the tokenizer's mask token stands in for; never its special
    tokens."""
    mix_embeddings: Alpha | None = None
    """Blend each text's word embeddings and its label with another's of its batch (Guo et al.,
    2019)."""
    variants: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | None = None
    """Each sample comes in so many variants, epoch after epoch in turn, so that a teacher's answers
    can be kept; null: other changes in each epoch."""

    @property
    def mixes(self) -> bool:
        """True if samples of a batch are mixed with one another."""
        return any(alpha is not None for alpha in (self.mixup, self.cutmix, self.mix_embeddings))

    @property
    def changes_images(self) -> bool:
        """True if something in it is for images."""
        return bool(self.crop or self.flip or self.mixup or self.cutmix)

    @property
    def changes_texts(self) -> bool:
        """True if something in it is for texts."""
        return bool(self.mask_tokens or self.mix_embeddings)

    @model_validator(mode="after")
    def _mixtures_have_no_variants(self) -> Self:
        if self.mixes and self.variants is not None:
            raise ValueError(
                expected("variants", "null where samples are mixed with others", self.variants)
            )
        return self


class GradientCompression(Options):
    """Gradients of low rank, with what is left out added to the next step's."""

    rank_ratio: float = Field(gt=0, le=1)
    """Rank that a gradient matrix keeps, as a fraction of its shorter side."""


class TrainingOptions(Options):
    """Epochs, optimizer, learning-rate schedule and arithmetic of one training."""

    epochs: int = Field(default=3, ge=1, le=MOST_EPOCHS)
    """Passes over the training split; the epoch that is best on validation is kept."""
    batch_size: int = Field(default=32, ge=1, le=MOST_SAMPLES_AT_ONCE)
    """Samples in one forward pass, of all processes together."""
    accumulation_steps: int = Field(default=1, ge=1, le=MOST_BATCHES_A_STEP)
    """Batches whose gradients are averaged into one optimizer step."""
    optimizer: Literal["adamw", "adamw_8bit", "sgd"] = "adamw"
    """`sgd` has momentum 0.9 (Nesterov); `adamw_8bit` keeps its state in 8 bits and needs
    bitsandbytes."""
    learning_rate: float = Field(default=1e-4, gt=0, le=10)
    """The peak, after warm-up."""
    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    """Applied to weight matrices and kernels; never to biases and normalisations."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after warm-up."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the optimizer steps over which the learning rate rises to its peak."""
    precision: Precision = "fp32"
    """Arithmetic of forward and backward passes; weights stay fp32. `fp16` needs a GPU."""
    max_grad_norm: Annotated[float, Field(gt=0, le=HEAVIEST, allow_inf_nan=False)] | None = 1.0
    """Gradients are scaled down to this norm where theirs is larger; null: never."""
    early_stopping: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | None = None
    """Stop after so many epochs in a row that aren't better on validation; null: never."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass rather than keep them: less memory, more
    time. For transformers models."""
    compile: bool = False
    """Compile the model with torch.compile: a minute at the start, faster steps afterwards."""
    gradient_compression: GradientCompression | None = None
    """Make gradients low-rank, so that processes have less to send one another; null: don't."""
    trackers: tuple[Literal["tensorboard", "mlflow"], ...] = ()
    """Also log losses and scores there."""
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
        """What these options can't do for a task: (dotted key, what is wrong with it).

        Parameters
        ----------
        modality, target : see `compress.core.context.Task`.
        """
        augment = self.augment
        if augment is None:
            return
        if modality != "image" and augment.changes_images:
            yield "augment", "crop, flip, mixup and cutmix of 'augment' are for images. Got texts."
        if modality != "text" and augment.changes_texts:
            yield "augment", "mask_tokens and mix_embeddings are for texts. Got images."
        if augment.mixes and target not in ("class", "class-set"):
            yield (
                "augment",
                "mixup, cutmix and mix_embeddings need one label or label set for each sample. "
                f"Got a task whose target is {target!r}.",
            )

    def summarize(self) -> str:
        """A few words for the recipe check."""
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return f"{epochs}, {self.optimizer} {self.learning_rate:g}, {self.precision}"
