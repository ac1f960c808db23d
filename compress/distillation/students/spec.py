"""The recipe's options of a student."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from compress.core.bounds import MOST_BUCKETS, MOST_LAYERS, MOST_UNITS
from compress.core.options import Options
from compress.distillation.students.layer_choice import Which
from compress.distillation.students.static_spec import StaticSpec
from compress.errors import expected
from compress.models.ngrams.sizes import NgramSizes

_UNTRAINED = ("transformers", "python", "ngrams", "self")
_KINDS = ("layers", "width", *_UNTRAINED, "static")

Units = Annotated[int, Field(ge=1, le=MOST_UNITS)]
Length = Annotated[int, Field(ge=1, le=5)]


class Width(Options):
    """Widths of a student, by the names of transformers' configs.

    Attention heads keep the width that they have in the teacher.
    """

    hidden_size: Units | None = None
    """Number of units that every layer reads and writes; null: as in the teacher."""
    intermediate_size: Units | None = None
    """Number of neurons of each feed-forward; null: as in the teacher."""
    num_attention_heads: Units | None = None
    """Number of heads of each attention; null: as many as fit the hidden size, or as in the
    teacher."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.given():
            names = ", ".join(type(self).model_fields)
            raise ValueError(expected("width", f"given by one of {names} or more", {}))
        return self

    def given(self) -> dict[str, int]:
        """Return the widths that are set, by name."""
        return self.model_dump(exclude_none=True)


class Ngrams(Options):
    """A classifier that averages embeddings of n-grams of the tokenizer's pieces, hashed into one
    table (Joulin et al., 2017; Ye et al., "Sparse Distillation", NAACL 2022). It has no attention:
    most of the time goes to the tokenizer."""

    pieces: tuple[Length, Length] = (1, 2)
    """Pieces of the shortest and of the longest n-grams. A single piece has a row of its own."""
    buckets: int = Field(default=65_536, ge=1, le=MOST_BUCKETS)
    """Rows that all n-grams of two and more pieces share; each is the row of those with its hash.
    """
    width: Units | None = None
    """Numbers of a row; null: a row holds the scores of the classes themselves, and the model is
    linear."""
    hidden: Annotated[tuple[Units, ...], Field(max_length=MOST_LAYERS)] = ()
    """Neurons of each layer between the averaged rows and the scores; needs `width`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of a text's n-grams that are left out in training, drawn anew for each batch."""
    vocabulary: int | None = Field(default=None, ge=300, le=MOST_BUCKETS)
    """Tokens of a tokenizer of the student's own, which is trained on the train split and takes
    less time than BERT's; null: the teacher's tokenizer."""
    start: Literal["random", "linear"] = "random"
    """Weights before training: `random`, or those of a linear SVM that is trained on the n-grams of
    the train split and its labels; `linear` needs `width: null`."""
    rows: int | None = Field(default=None, ge=1, le=MOST_BUCKETS)
    """Rows that are kept of all, those that matter most to the linear start; null: all. So there
    may be many `buckets`, which keep n-grams apart, in a small file. It needs `start: linear`."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.pieces[0] > self.pieces[1]:
            raise ValueError(
                expected("pieces", "two numbers, the second at least the first", list(self.pieces))
            )
        if self.hidden and self.width is None:
            raise ValueError(expected("hidden", "given with 'width' only", list(self.hidden)))
        if self.start == "linear" and self.width is not None:
            raise ValueError(expected("width", "null with 'start: linear'", self.width))
        if self.rows is not None and self.start != "linear":
            raise ValueError(expected("rows", "null without 'start: linear'", self.rows))
        return self

    def sizes(self, *, vocabulary: int, classes: int) -> NgramSizes:
        """Return the model's sizes for a tokenizer of so many ids and a task of so many classes."""
        shortest, longest = self.pieces
        return NgramSizes(
            vocabulary=vocabulary,
            shortest=shortest,
            longest=longest,
            buckets=self.buckets,
            classes=classes,
            width=self.width,
            hidden=self.hidden,
            dropout=self.dropout,
            kept=self.rows,
        )

    def summarize(self) -> str:
        """Return a few words for the recipe check."""
        shortest, longest = self.pieces
        lengths = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
        width = "" if self.width is None else f", width {self.width}"
        own = "" if self.vocabulary is None else f", {self.vocabulary:,} tokens of its own"
        own += "" if self.rows is None else f", {self.rows:,} rows of all"
        start = "" if self.start == "random" else f", {self.start} start"
        return f"n-grams of {lengths} pieces in {self.buckets:,} buckets{width}{own}{start}"


class StudentSpec(Options):
    """The student: `layers` and `width`, or one of them; or exactly one of the other kinds."""

    layers: (
        Annotated[int, Field(ge=1, le=MOST_LAYERS)]
        | Annotated[list[Annotated[int, Field(ge=0, lt=MOST_LAYERS)]], Field(min_length=1)]
        | None
    ) = None
    """Number of the teacher's layers, or the layers' own numbers (from 0). The student has their
    weights and everything outside of the layers."""
    which: Which = "even"
    """The layers if `layers` is their number: evenly spaced ones, the first or the last."""
    width: Width | None = None
    """Fewer units in all layers. The student keeps the teacher's units with the largest weights."""
    transformers: Annotated[str, Field(min_length=1)] | dict[str, Any] | None = None
    """An untrained transformers model: a folder or hub id with a config, or the keys that differ
    from the teacher's config."""
    python: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """An untrained plain module: "package.module:function"."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the `python` function."""
    ngrams: Ngrams | None = None
    """A classifier of texts by their n-grams."""
    self: bool = False
    """The architecture of the model given, untrained (Furlanello et al., "Born-Again Neural
    Networks", ICML 2018). To continue from its weights, give no student."""

    static: StaticSpec | None = None
    """A table of embeddings, one for each token, for tasks whose answer is an embedding."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in _KINDS if getattr(self, kind) not in (None, False)]
        if not given or (len(given) > 1 and given != ["layers", "width"]):
            allowed = f"'layers' and 'width', or one of {', '.join(_KINDS)}"
            raise ValueError(expected("student", f"given by {allowed}", given))
        if self.arguments and self.python is None:
            raise ValueError(expected("arguments", "given with 'python' only", given))
        if self.which != "even" and not isinstance(self.layers, int):
            raise ValueError(expected("which", "given with a number of 'layers' only", given))
        if isinstance(self.layers, list) and self.layers != sorted(set(self.layers)):
            allowed = "a number, or a list of different layer numbers that rises"
            raise ValueError(expected("layers", allowed, self.layers))
        return self

    @property
    def keeps_weights(self) -> bool:
        """True if the student begins with weights of the teacher."""
        return self.layers is not None or self.width is not None

    def summarize(self) -> str:
        """Return a few words for the recipe check."""
        if self.keeps_weights:
            return ", ".join([*self._layers(), *self._width()])
        if self.static is not None:
            return self.static.summarize()
        if self.self:
            return "untrained, same architecture"
        if isinstance(self.transformers, dict):
            changes = ", ".join(f"{key} {value}" for key, value in self.transformers.items())
            return f"untrained, {changes or 'same config'}"
        if self.ngrams is not None:
            return self.ngrams.summarize()
        return f"untrained {self.transformers or self.python}"

    def _layers(self) -> list[str]:
        if self.layers is None:
            return []
        if isinstance(self.layers, list):
            noun = "layer" if len(self.layers) == 1 else "layers"
            return [f"{noun} {', '.join(map(str, self.layers))}"]
        place = "" if self.which == "even" else f"the {self.which} "
        return [place + ("1 layer" if self.layers == 1 else f"{self.layers} layers")]

    def _width(self) -> list[str]:
        given = self.width.given() if self.width else {}
        return [f"{name} {count}" for name, count in given.items()]
