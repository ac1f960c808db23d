"""Times a row's model from a text to its answer, the tokenizer included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import DataError, StageError
from compress.measurement.latency.measure import measure_latency
from compress.measurement.latency.results import FromText
from compress.measurement.session import feed, session
from compress.runner.row.speed import by_size, in_turn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from compress.core.context import Context
    from compress.measurement.latency.measure import Call, Prepare
    from compress.measurement.spec import MeasureSpec
    from compress.runner.row.models import ComparedModel, MeasuredModel

_TEXTS = "texts"


def measure_from_text(
    measured: MeasuredModel,
    *,
    context: Context,
    spec: MeasureSpec,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> tuple[FromText | None, list[str]]:
    """Return the time from texts to answers, if the recipe asks for it, and notes.

    Each model reads the test split's first texts with its own tokenizer, as the bundle's script
    does: a batch is padded to its longest text, one text isn't padded.
    """
    if not spec.from_text:
        return None, []
    raw = context.data.raw("test", limit=max(spec.batch_sizes))
    models = in_turn(measured, original, previous)
    if raw.kind not in ("text", "pair"):
        return None, [f"not timed from a text: the samples are of the kind {raw.kind!r}"]
    if any(of.onnx is None for of in models.values()):
        return None, ["not timed from a text: a model has no ONNX file"]
    texts = {size: {_TEXTS: np.resize(_objects(raw.values), size)} for size in spec.batch_sizes}
    try:
        times = measure_latency(
            {name: _from_text(of, threads=spec.threads) for name, of in models.items()},
            texts,
            spec=spec,
            progress=context.progress,
        )
    except (DataError, StageError) as error:
        return None, [f"not timed from a text: {error}"]
    latency, speedup = by_size(times, models, spec, original=original, previous=previous)
    return FromText(latency, speedup), []


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = [tuple(value) if isinstance(value, list) else value for value in values]
    return array


def _from_text(of: MeasuredModel | ComparedModel, *, threads: int) -> Prepare:
    """Return a function from texts to a call that reads and answers them."""
    if of.onnx is None:
        raise TypeError("models without an ONNX file are refused before.")
    opened = session(of.onnx, threads=threads)
    preprocessor = of.artifact.require_preprocessor()
    read = text_reader(preprocessor.tokenizer, preprocessor.max_length)

    def prepare(inputs: Mapping[str, NDArray[Any]]) -> Call:
        texts = list(inputs[_TEXTS])
        return lambda: opened.run(None, feed(opened, read(texts)))

    return prepare


def text_reader(tokenizer: Any, max_length: int | None) -> Any:
    """Return a function from texts to arrays (N, S), as the bundle's script makes them.

    Raises
    ------
    StageError : the tokenizer has no tokenizer.json.
    """
    if max_length is None or not getattr(tokenizer, "is_fast", False):
        raise StageError("the tokenizer has no tokenizer.json")
    from tokenizers import Tokenizer

    own = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own.enable_truncation(max_length, direction=tokenizer.truncation_side)
    own.enable_padding(
        direction=tokenizer.padding_side,
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
        pad_token=tokenizer.pad_token,
    )

    def read(texts: list[Any]) -> dict[str, NDArray[np.int64]]:
        encoded = own.encode_batch_fast(texts)
        return {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
            "token_type_ids": np.array([one.type_ids for one in encoded], np.int64),
        }

    return read
