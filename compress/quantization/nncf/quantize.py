"""Quantizes an ONNX file by NNCF to QDQ form, which OpenVINO and ONNX Runtime both read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from compress.core.foreign.boundary import described
from compress.errors import CompressError, StageError
from compress.measurement.runtimes.names import missing
from compress.measurement.runtimes.openvino import without_telemetry
from compress.measurement.session import feed, session
from compress.onnx_graph.files import load_graph, load_model
from compress.quantization.nncf.accuracy_control import Restoration, Validation
from compress.quantization.selection import convolution_share, kept_in_float
from compress.quantization.silence import silence
from compress.quantization.write import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import onnx

    from compress.core.context import Batch
    from compress.onnx_graph.graph import Graph

PACKAGES = ("openvino", "nncf")
_ATTENTION = ("Attention", "Softmax")


def quantize_by_nncf(
    source: Path,
    *,
    path: Path,
    batches: Iterable[Batch],
    exclude: Sequence[str] = (),
    kept: Sequence[str] = (),
    per_channel: bool = True,
    reduce_range: bool = False,
    restoration: Restoration | None = None,
) -> tuple[str, ...]:
    """Write a model that NNCF has quantized: weights and activations in 8 bits, in QDQ form.

    Activations are unsigned with a zero point, weights signed and symmetric. NNCF chooses the
    operators, folds outliers of a transformer's activations into weights (SmoothQuant), and
    corrects biases.

    Parameters
    ----------
    source : the float model.
    path : the file to write; the metadata are kept.
    batches : calibration samples, which NNCF is given one by one.
    exclude : patterns (`*`, `?`) of the names of nodes or weights that stay in float.
    kept : names of further nodes that stay in float.
    per_channel : use one scale for each output channel of a weight.
    reduce_range : give weights 7 bits, for a CPU that adds two products in 16 bits.
    restoration : NNCF's accuracy control; None for none.

    Returns
    -------
    Notes on what was done.

    Raises
    ------
    StageError : NNCF isn't installed or fails, or a pattern matches nothing.
    """
    if (wrong := missing(PACKAGES)) is not None:
        raise StageError(f"quantization by NNCF {wrong}")
    graph = load_graph(source)
    samples = list(_samples(source, batches))
    excluded = kept_in_float(_names(graph), exclude)
    try:
        with _quiet():
            made, notes = _made(
                load_model(source),
                samples,
                ignored=sorted({*excluded, *kept}),
                transformer=_is_transformer(graph),
                per_channel=per_channel,
                reduce_range=reduce_range,
                validation=None
                if restoration is None
                else Validation(restoration, source, samples),
            )
    except CompressError:
        raise
    except Exception as error:  # NNCF checks little, and fails at whatever comes of it
        raise StageError(f"NNCF can't quantize this graph: {described(error)}") from error
    write(made, path=path, source=source, producer="nncf")
    found = load_graph(path)
    scaled = sum(node.op_type == "QuantizeLinear" for node in found.nodes)
    if not any(node.op_type == "DequantizeLinear" for node in found.nodes):
        raise StageError("NNCF found nothing to quantize in this graph.")
    first = f"NNCF {version('nncf')}: {scaled} activations in 8 bits, on {len(samples)} samples"
    left = [f"kept in float by 'exclude': {', '.join(sorted(excluded))}"] if excluded else []
    return (first, *left, *notes)


def _made(
    model: onnx.ModelProto,
    samples: Sequence[Mapping[str, Any]],
    *,
    ignored: Sequence[str],
    transformer: bool,
    per_channel: bool,
    reduce_range: bool,
    validation: Validation | None,
) -> tuple[onnx.ModelProto, list[str]]:
    """Return what NNCF makes of a model, and notes on its accuracy control."""
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.advanced_parameters import QuantizationParameters as Parameters

    nncf.set_log_level(logging.ERROR)
    advanced = AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.ENABLE if reduce_range else nncf.OverflowFix.DISABLE,
        weights_quantization_params=Parameters(per_channel=per_channel),
    )
    given: dict[str, Any] = {
        "preset": nncf.QuantizationPreset.MIXED,
        "target_device": nncf.TargetDevice.CPU,
        "subset_size": len(samples),
        "model_type": nncf.ModelType.TRANSFORMER if transformer else None,
        "ignored_scope": nncf.IgnoredScope(names=list(ignored)) if ignored else None,
    }
    dataset = nncf.Dataset(samples)
    if validation is None:
        return nncf.quantize(model, dataset, advanced_parameters=advanced, **given), []
    made = nncf.quantize_with_accuracy_control(
        model,
        dataset,
        dataset,
        validation,
        max_drop=validation.restoration.budget,
        advanced_quantization_parameters=advanced,
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            num_ranking_workers=1
        ),
        **given,
    )
    validation.close()
    return made, validation.notes()


def _samples(source: Path, batches: Iterable[Batch]) -> Iterator[dict[str, Any]]:
    """Yield the inputs of each sample alone: NNCF's statistics of batches are wrong for some
    operators."""
    opened = session(source, threads=1)
    for batch in batches:
        arrays = feed(opened, batch)
        for at in range(len(next(iter(arrays.values())))):
            yield {name: array[at : at + 1] for name, array in arrays.items()}


def _names(graph: Graph) -> list[tuple[str, str]]:
    return [(node.name, name) for node in graph.nodes for name in (node.input or [node.name])]


def _is_transformer(graph: Graph) -> bool:
    """Return whether NNCF should treat a model as a transformer, for which it has other rules."""
    attends = any(node.op_type in _ATTENTION for node in graph.nodes)
    return attends and convolution_share(graph) <= 0.5


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's bars and advice out of the run's output, and its reports to its makers."""
    with silence(), warnings.catch_warnings(), without_telemetry():
        warnings.simplefilter("ignore")
        yield
