"""Options of a student's losses."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from compress.core.bounds import HEAVIEST, MOST_LAYERS, MOST_TOKENS, MOST_UNITS
from compress.core.options import Options
from compress.errors import expected

Weight = Annotated[float, Field(ge=0, le=HEAVIEST, allow_inf_nan=False)]
Layer = Annotated[int, Field(ge=0, lt=MOST_LAYERS)] | Annotated[str, Field(min_length=1)]


OF_PAIRS = ("in_batch_negatives", "margin_mse")
"""Losses on pairs of a query and a document."""


class LayerPair(Options):
    """A layer of the student, and the teacher's layer that it learns from."""

    student: Layer
    """Number of the student's layer, from 0, or the path of a module."""
    teacher: Layer
    """Number of the teacher's layer, from 0, or the path of a module."""
    weight: Weight = 1.0
    """Factor of this pair in the loss."""


Layers = Literal["last", "uniform"] | Annotated[tuple[LayerPair, ...], Field(min_length=1)]
"""`last` pairs the last layers of both models. `uniform` pairs each layer of the student with one
of the teacher's, at even distances, and the last with the last. Models that aren't of transformers
need pairs of module paths."""


class Decoupled(Options):
    """Decoupled distillation (Zhao et al., 2022): the target class is weighed apart from others."""

    alpha: Weight = 1.0
    """Factor of the part for the target class (TCKD)."""
    beta: Weight = 8.0
    """Factor of the part for the other classes among themselves (NCKD)."""


class Response(Options):
    """Learning from the teacher's softened answers (Hinton et al., 2015)."""

    temperature: float = Field(default=4.0, gt=0, le=100)
    """Temperature that divides both models' logits. A higher one stresses the wrong classes."""
    weight: Weight = 0.7
    """Factor of this part in the loss. The part already includes the temperature squared."""
    logit_standardization: bool = False
    """First give each sample's logits mean 0 and standard deviation 1 (Sun et al., 2024)."""
    decoupled: Decoupled | None = None
    """Weigh the target class and the others separately; for tasks with labels and one class for
    each sample."""
    divergence: Literal["forward", "reverse", "jsd"] = "forward"
    """For text generation: KL(teacher ‖ student) (forward), KL(student ‖ teacher) (reverse), or the
    generalised Jensen-Shannon divergence (jsd)."""
    jsd_beta: float = Field(default=0.5, gt=0, lt=1)
    """For `divergence: jsd`: the teacher's share in the mixture of both distributions."""
    chunk_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    """For text generation: number of tokens whose logits are computed at a time; null for all. It
    saves memory if the vocabulary is large."""

    @model_validator(mode="after")
    def _one_variant(self) -> Self:
        if self.decoupled is not None and self.logit_standardization:
            raise ValueError(
                expected("decoupled", "null together with 'logit_standardization'", "both")
            )
        return self

    def summarize(self) -> str:
        """Such as "0.7 response (T 4)"."""
        words = [f"T {self.temperature:g}"]
        words += ["standardized"] if self.logit_standardization else []
        words += ["decoupled"] if self.decoupled else []
        words += [self.divergence] if self.divergence != "forward" else []
        return f"{self.weight:g} response ({', '.join(words)})"


class Labels(Options):
    """Learning from the data's labels."""

    weight: Weight = 0.3
    """Factor of the cross-entropy in the loss; 0 if the data has no labels."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """The fraction of each label's probability that is spread evenly over all classes."""


class Feature(Options):
    """Learning hidden states or feature maps by their squared difference (Romero et al., 2015).

    If the widths differ, a linear projection of the student's features is learned too."""

    weight: Weight = 1.0
    """Factor of this part in the loss."""
    layers: Layers = "last"
    """Which layers learn from which."""
    normalize: bool = False
    """First scale every feature vector to length 1, so that only its direction counts."""


class Embedding(Options):
    """Learning the teacher's embeddings of texts, by their cosine to the student's."""

    weight: Weight = 1.0
    """Factor of this part in the loss."""


class InBatchNegatives(Options):
    """Learning from pairs of a query and a document: the other documents of a batch are negatives
    (InfoNCE, the multiple negatives ranking loss)."""

    weight: Weight = 1.0
    """Factor of this part in the loss."""
    temperature: float = Field(default=0.05, gt=0, le=100)
    """Temperature that divides the cosines. A lower one stresses the nearest negatives."""


class MarginMse(Options):
    """Learning a teacher's margins between a query's document and the others of a batch
    (Hofstätter et al., 2020); the models' widths may differ."""

    weight: Weight = 1.0
    """Factor of this part in the loss."""


class Relation(Options):
    """Learning the relations between the samples of a batch; the models' widths may differ."""

    cosine: Weight = 0.0
    """Factor of the squared difference between both models' matrices of cosine similarities."""
    similarity: Weight = 0.0
    """Factor of the similarity-preserving loss (Tung and Mori, 2019)."""
    distance: Weight = 0.0
    """Factor of the relational distance loss (RKD-D; Park et al., 2019)."""
    angle: Weight = 0.0
    """Factor of the relational angle loss (RKD-A; Park et al., 2019)."""
    layers: Literal["output"] | Layers = "output"
    """Layers whose features are related. `output` means the sentence embedding in feature
    extraction, and the logits in classification."""


class Attention(Options):
    """Learning the teacher's attention."""

    transfer: Weight = 0.0
    """For convolutional networks: factor of attention transfer between feature maps (Zagoruyko
    and Komodakis, 2017)."""
    maps: Weight = 0.0
    """For transformers: factor of the difference between attention weights."""
    divergence: Literal["mse", "kl"] = "kl"
    """Measure of the difference between attention weights: squared difference (mse), or
    KL(teacher ‖ student) (kl)."""
    queries_keys: Weight = 0.0
    """For transformers: factor of the KL between the relations of queries and keys (MiniLM; Wang et
    al., 2020)."""
    values: Weight = 0.0
    """For transformers: factor of the KL between the relations among values (MiniLM)."""
    relation_heads: Annotated[int, Field(ge=1, le=MOST_UNITS)] | None = None
    """Number of heads into which queries, keys and values are split for the relations. Null takes
    the teacher's number, or the largest that divides both widths."""
    layers: Layers = "last"
    """Which layers learn from which."""


class Custom(Options):
    """A loss of the user's own."""

    python: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    """A function "package.module:function" of (student, teacher, batch): both models' outputs by
    name, and the batch. It returns a scalar, averaged over the samples. It may lie in the current
    directory."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of the function."""
    weight: Weight = 1.0
    """Factor of this part in the loss."""


class Losses(Options):
    """The weighted sum that a student minimises."""

    response: Response | None = Response()
    """Loss on the teacher's answers; null for none."""
    labels: Labels | None = Labels()
    """Loss on the labels; null for none."""
    feature: Feature | None = None
    """Loss on the teacher's features; null for none."""
    embedding: Embedding | None = None
    """Loss on the teacher's embeddings of texts; null for none."""
    in_batch_negatives: InBatchNegatives | None = None
    """Loss on pairs of a query and a document, whose negatives are the batch's other documents;
    null for none."""
    margin_mse: MarginMse | None = None
    """Loss on the teacher's margins between the documents of a batch; null for none."""
    relation: Relation | None = None
    """Loss on the relations between samples; null for none."""
    attention: Attention | None = None
    """Loss on the teacher's attention; null for none."""
    custom: Custom | None = None
    """A loss of one's own; null for none."""

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if not self.weights:
            raise ValueError(expected("losses", "a sum with one weight above 0 or more", 0))
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Return the factors above 0, by the names under which the parts are shown."""
        named: dict[str, float] = {}
        for name in (
            "response", "labels", "feature", "embedding", *OF_PAIRS, "custom"
        ):  # fmt: skip
            part = getattr(self, name)
            named[name] = part.weight if part else 0.0
        kinds = {
            "relation": ("cosine", "similarity", "distance", "angle"),
            "attention": ("transfer", "maps", "queries_keys", "values"),
        }
        for name, factors in kinds.items():
            part = getattr(self, name)
            named |= {f"{name}.{key}": getattr(part, key) if part else 0.0 for key in factors}
        return {name: weight for name, weight in named.items() if weight > 0}

    @property
    def needs_teacher(self) -> bool:
        """True if any part has a weight but those that read the data alone."""
        return not set(self.weights) <= {"labels", "in_batch_negatives"}

    def summarize(self) -> str:
        """Such as "0.7 response (T 4) + 0.3 labels"."""
        return " + ".join(
            self.response.summarize()
            if name == "response" and self.response is not None
            else f"{weight:g} {name}"
            for name, weight in self.weights.items()
        )
