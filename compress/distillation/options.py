"""What a recipe says about how a student learns."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from compress.core.bounds import HEAVIEST, MOST_LAYERS, MOST_TOKENS, MOST_UNITS
from compress.core.options import Options
from compress.errors import expected

Weight = Annotated[float, Field(ge=0, le=HEAVIEST, allow_inf_nan=False)]
Layer = Annotated[int, Field(ge=0, lt=MOST_LAYERS)] | Annotated[str, Field(min_length=1)]


class LayerPair(Options):
    """A layer of the student, and the teacher's layer that it learns from."""

    student: Layer
    """Number of a layer, from 0, or the path of a module."""
    teacher: Layer
    """Number of a layer, from 0, or the path of a module."""
    weight: Weight = 1.0
    """Factor of this pair among the others."""


Layers = Literal["last", "uniform"] | Annotated[tuple[LayerPair, ...], Field(min_length=1)]
"""`last`: the last layers of both. `uniform`: each of the student's layers learns from one of the
teacher's, at even distances, the last from the last. Plain modules need pairs, by module path."""


class Decoupled(Options):
    """Decoupled distillation (Zhao et al., 2022): the target class apart from all others."""

    alpha: Weight = 1.0
    """Factor of what the teacher says of the target class."""
    beta: Weight = 8.0
    """Factor of what it says of the other classes among themselves."""


class Response(Options):
    """Learning from the teacher's softened answers (Hinton et al., 2015)."""

    temperature: float = Field(default=4.0, gt=0, le=100)
    """Divides both models' logits; higher tells more about the wrong classes."""
    weight: Weight = 0.7
    """Factor of this part in the loss; the part already holds temperature squared."""
    logit_standardization: bool = False
    """Each sample's logits are brought to mean 0 and deviation 1 first (Sun et al., 2024)."""
    decoupled: Decoupled | None = None
    """Weigh the target class and the others apart; for one class a sample, with labels."""
    divergence: Literal["forward", "reverse", "jsd"] = "forward"
    """For text generation: KL of the teacher's distribution to the student's (forward), of the
    student's to the teacher's (reverse), or the generalised Jensen-Shannon divergence."""
    jsd_beta: float = Field(default=0.5, gt=0, lt=1)
    """For `divergence: jsd`: the teacher's share in the mixture of both."""
    chunk_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    """For text generation: logits are computed for so many tokens at a time, which saves memory
    where the vocabulary is large; null for all at once."""

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
    """Factor of the cross-entropy in the loss; 0 where the data has no labels."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Part of each label's probability that is spread over all classes."""


class Feature(Options):
    """Learning hidden states or feature maps (Romero et al., 2015), by their squared difference.

    Where the widths differ, a linear projection of the student's is learned beside it."""

    weight: Weight = 1.0
    """Factor of this part in the loss."""
    layers: Layers = "last"
    """Which layers learn from which."""
    normalize: bool = False
    """Bring every feature vector to length 1 first, so that only its direction counts."""


class Relation(Options):
    """Learning how the samples of a batch lie to one another; widths may differ."""

    cosine: Weight = 0.0
    """Factor of the squared difference between both models' matrices of cosine similarities."""
    similarity: Weight = 0.0
    """Factor of the similarity-preserving loss (Tung and Mori, 2019)."""
    distance: Weight = 0.0
    """Factor of the relational distance loss (RKD-D; Park et al., 2019)."""
    angle: Weight = 0.0
    """Factor of the relational angle loss (RKD-A; Park et al., 2019)."""
    layers: Literal["output"] | Layers = "output"
    """Whose features: `output` is the sentence embedding of feature extraction, and the logits
    of classification."""


class Attention(Options):
    """Learning where the teacher looks."""

    transfer: Weight = 0.0
    """For convolutional networks: factor of attention transfer between feature maps (Zagoruyko
    and Komodakis, 2017)."""
    maps: Weight = 0.0
    """For transformers: factor of the difference between attention weights."""
    divergence: Literal["mse", "kl"] = "kl"
    """How attention weights differ: squared difference, or KL of the teacher's to the student's."""
    queries_keys: Weight = 0.0
    """For transformers: factor of the KL between the products of queries and keys (MiniLM; Wang et
    al., 2020)."""
    values: Weight = 0.0
    """For transformers: factor of the KL between the values' relations to one another (MiniLM)."""
    relation_heads: Annotated[int, Field(ge=1, le=MOST_UNITS)] | None = None
    """Heads into which queries, keys and values are split anew for the relations; null for as many
    as the teacher has, or the most that divide both widths."""
    layers: Layers = "last"
    """Which layers learn from which."""


class Losses(Options):
    """The weighted sum that a student minimises."""

    response: Response | None = Response()
    """From the teacher's answers; null for none."""
    labels: Labels | None = Labels()
    """From the labels; null for none."""
    feature: Feature | None = None
    """From the teacher's features; null for none."""
    relation: Relation | None = None
    """From the relations between samples; null for none."""
    attention: Attention | None = None
    """From the teacher's attention; null for none."""

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if not self.weights:
            raise ValueError(expected("losses", "a sum with one weight above 0 or more", 0))
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The factors above 0, by the names under which the parts are shown."""
        named: dict[str, float] = {}
        for name in ("response", "labels", "feature"):
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
        """Whether anything but the labels is learned from."""
        return set(self.weights) != {"labels"}

    def summarize(self) -> str:
        """Such as "0.7 response (T 4) + 0.3 labels"."""
        return " + ".join(
            self.response.summarize()
            if name == "response" and self.response is not None
            else f"{weight:g} {name}"
            for name, weight in self.weights.items()
        )
