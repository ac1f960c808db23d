"""Runs samples through a float model and keeps statistics of its activations, in constant memory.

onnxruntime's own calibrators keep every activation of every sample until the end (or, with a
limit, drop them), require equal shapes, and set a histogram's bins by the first samples. Through
`quantize_static` their entropy method has as many bins as levels, and is MinMax in effect. Here a
first pass finds each tensor's extremes, and a second pass fills histograms of that range. Only one
sample's activations are held at a time. If even these are too large, some tensors are observed in
later passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.progress import Advance, Progress, Silent
from compress.errors import StageError
from compress.quantization.calibration.graph import ObservedModel
from compress.quantization.calibration.kept import Kept, model_digest
from compress.quantization.calibration.observations import OF_HISTOGRAMS, Observations
from compress.quantization.calibration.samples import Batches, SampleCounts, samples
from compress.quantization.calibration.statistics import Extremes, Tallied, tally, widen

if TYPE_CHECKING:
    from compress.quantization.calibration.graph import Opened
    from compress.quantization.calibration.samples import Array
    from compress.quantization.options import CalibrationMethod

MEMORY_BYTES = 2**28


def observe(
    source: Path,
    tensors: Sequence[str],
    *,
    batches: Batches,
    methods: Sequence[CalibrationMethod],
    memory_bytes: int = MEMORY_BYTES,
    store: Path | None = None,
    progress: Progress | None = None,
) -> Observations:
    """The statistics of activations that these calibration methods need.

    Samples are run one by one and without padding, so that neither their order nor the batch size
    changes any bit of the result.

    Parameters
    ----------
    source : the float ONNX file.
    tensors : names of float activations and of float graph inputs.
    batches : iterated once to count the samples, and then once for each pass. There is one pass for
        minmax and moving_average, and two passes for other methods.
    methods : the methods that `Observations.ranges` will be called with.
    memory_bytes : largest size of the activations that are held at once. If one sample's tensors
        are larger, they are observed in several turns, each with its own passes. A tensor larger
        than this has a turn of its own.
    store : a folder for finished passes, so that a run that was killed doesn't repeat them.

    Raises
    ------
    DataError : a batch lacks one of the model's inputs.
    StageError : there are no samples, a later pass has other samples, a tensor is unknown or always
        empty, or an activation isn't finite.
    """
    graph = ObservedModel(source, tensors)
    census = SampleCounts()
    for sample in samples(batches, graph.inputs):
        census.add(sample)
    if census.largest is None:
        raise StageError("no calibration samples: the calibration split gave no batch.")
    chunks = _chunks(graph.sizes(tensors, census.largest), memory_bytes)
    identity = f"{model_digest(source)} {census.digest}" if store is not None else ""
    kept = Kept(store, identity)
    counting = any(method in OF_HISTOGRAMS for method in methods)
    extremes: dict[str, Extremes] = {}
    histograms: dict[str, Tallied] = {}
    total = census.count * len(chunks) * (1 + counting)
    with (progress or Silent()).track("calibrate", total) as advance:
        for chunk in chunks:
            turn = _Turn(graph, chunk, batches, census, advance)
            found = turn.extremes(kept)
            extremes |= found
            if counting:
                histograms |= turn.histograms(kept, found)
    return Observations(census.count, extremes, histograms)


def _chunks(sizes: Mapping[str, int], memory_bytes: int) -> list[tuple[str, ...]]:
    """The tensors in their order, in groups that fit the memory."""
    chunks: list[list[str]] = []
    held = 0
    for name, size in sizes.items():
        if not chunks or (held and held + size > memory_bytes):
            chunks.append([])
            held = 0
        chunks[-1].append(name)
        held += size
    return [tuple(chunk) for chunk in chunks]


class _Turn:
    """The passes over one chunk of tensors."""

    def __init__(
        self,
        graph: ObservedModel,
        tensors: Sequence[str],
        batches: Batches,
        census: SampleCounts,
        advance: Advance,
    ) -> None:
        self._graph = graph
        self._tensors = tensors
        self._batches = batches
        self._census = census
        self._advance = advance

    def extremes(self, kept: Kept) -> dict[str, Extremes]:
        found = kept.extremes(self._tensors)
        if found is not None:
            self._advance(self._census.count)
            return found
        found = {}
        for values in self._activations():
            widen(found, values)
        for name in self._tensors:
            if name not in found:
                raise StageError(
                    f"the activation {name!r} is empty for every calibration sample; it has no "
                    "range to be quantized in."
                )
        kept.keep_extremes(self._tensors, found)
        return found

    def histograms(self, kept: Kept, extremes: Mapping[str, Extremes]) -> dict[str, Tallied]:
        found = kept.histograms(self._tensors)
        if found is not None:
            self._advance(self._census.count)
            return found
        found = {}
        limits = {name: extremes[name].limit for name in self._tensors}
        for values in self._activations():
            tally(found, values, limits)
        kept.keep_histograms(self._tensors, found)
        return found

    @cached_property
    def _opened(self) -> Opened:
        return self._graph.open(self._tensors)

    def _activations(self) -> Iterator[Mapping[str, Array]]:
        seen = SampleCounts()
        for sample in samples(self._batches, self._graph.inputs):
            seen.add(sample)
            yield self._opened.activations(sample)
            self._advance()
        if seen.digest != self._census.digest:
            raise StageError(
                "calibration goes through its samples several times, but they weren't the same "
                f"again: {self._census.count} at first, then {seen.count}."
            )
