"""README.md of a bundle: a model card as the Hugging Face hub reads it, with the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from compress.core.shown import one_line
from compress.exporting.bundle.precisions import PRECISIONS_FILE
from compress.models.folder.sentence_transformers import MODULES
from compress.report import tables, words
from compress.report.markdown import code, escape, table
from compress.tasks.registry import outline
from compress.tasks.task import TASKS

if TYPE_CHECKING:
    from jinja2 import Template

    from compress.report.document import Report, Row

CARD = "README.md"
_TEMPLATE = "model_card.md.jinja"
_DTYPES = {"": "fp32", "_fp16": "fp16", "_quantized": "q8", "_q4": "q4"}
"""Names of precisions in Transformers.js, by the suffix of a file."""
_EXAMPLES = {
    "text-generation": '"Return the number of"',
    "fill-mask": '"a text with one [MASK]"',
    "question-answering": '"a question" "a text that holds the answer"',
    "multiple-choice": '"a question" "one choice" "another choice"',
    "text-ranking": '"a query" "a document" "another document"',
}
_INPUTS = {
    "image": "image.png another.jpg",
    "text": '"a text" "another text"',
    "tensors": "inputs.npz",
}
_PACKAGES = {"image": ("pillow",), "text": ("tokenizers",), "tensors": ()}
_OTHER_PIPELINES = frozenset({"fill-mask", "multiple-choice", "question-answering"})
"""The hub's tasks beside those of `TASKS`, for which Transformers.js has a pipeline."""
_PIPELINES = {"sentence-similarity": "feature-extraction"}
"""Names of Transformers.js' pipelines that aren't the hub's names of tasks."""
_RANKING = "text-ranking"
"""A task of the hub without such a pipeline."""


def model_card(report: Report, manifest: Mapping[str, Any]) -> str:
    """Return the text of a bundle's README.md.

    Parameters
    ----------
    report : of the whole run; its last row is the model in the bundle.
    manifest : the content of manifest.json; its `files` may lack the card itself.
    """
    pipeline = pipeline_of(manifest["task"])
    modality = outline(manifest["task"]).modality
    packages = ("onnxruntime", "numpy", *_PACKAGES[modality])
    transformers = "config.json" in manifest["files"]
    return _template().render(
        report=report,
        front_matter=_yaml(_front_matter(report, manifest)),
        summary=_summary(report, manifest),
        results=_results(report),
        precisions=_precisions(report) if PRECISIONS_FILE in manifest["files"] else None,
        packages=packages,
        example=_EXAMPLES.get(pipeline or "", _INPUTS[modality]),
        has_node="infer.mjs" in manifest["files"],
        has_page="index.html" in manifest["files"],
        pipeline=_pipeline(pipeline) if transformers and pipeline != _RANKING else None,
        sentences=MODULES in manifest["files"],
        ranks=transformers and pipeline == _RANKING,
        transformers_js=_transformers_js(manifest["files"]),
        optimum=_optimum(manifest["task"]),
        limits=_limits(report, manifest),
        license=_license(manifest),
        made_from=_made_from(report, manifest),
        notes=[escape(note) for note in words.notes(report)],
    )


def _precisions(report: Report) -> str:
    """Return the table of a bundle's precisions as they were measured."""
    return "\n\n".join([table(tables.candidates(report.final)), words.BELOW_CANDIDATES])


def _optimum(task: str) -> str:
    """Return the name of Optimum's class for a task's models."""
    purpose = outline(task).auto_class.removeprefix("AutoModel")
    return f"ORTModel{purpose or 'ForFeatureExtraction'}"


def pipeline_of(task: str) -> str | None:
    """Return the name of a task in Transformers and on the hub; None if it has none there."""
    known = task in TASKS or task in _OTHER_PIPELINES or task == _RANKING
    return task.removeprefix("multi-label-") if known else None


def _pipeline(name: str | None) -> str | None:
    """Return the name of Transformers.js' pipeline for one of the hub's tasks."""
    return None if name is None else _PIPELINES.get(name, name)


def _front_matter(report: Report, manifest: Mapping[str, Any]) -> dict[str, Any]:
    model, data = manifest["made_from"]["model"], manifest["made_from"]["data"]
    final = report.final
    values: dict[str, Any] = {}
    if manifest["license"] is not None:
        values["license"] = one_line(manifest["license"])
    laid_out = _layout(manifest["files"]) is not None
    values["library_name"] = "transformers.js" if laid_out else "onnx"
    pipeline = pipeline_of(manifest["task"])
    if pipeline is not None:
        values["pipeline_tag"] = pipeline
    values["tags"] = ["onnx", "onnxruntime", "compress"]
    if model["kind"] == "hub":
        values["base_model"] = one_line(model["name"])
    if data["kind"] == "hub":
        values["datasets"] = [one_line(data["name"])]
    values["metrics"] = [one_line(final.quality.metric)]
    return values


def _summary(report: Report, manifest: Mapping[str, Any]) -> str:
    final = report.final
    quality = f"{escape(final.quality.metric)} {words.quality(final.quality)}"
    return (
        f"A model for {manifest['task']} in ONNX, {words.size(final.size_bytes)}, made by "
        f"compress from {_named(manifest)}: {quality} on "
        f"{final.quality.samples:,} test samples{_faster(report, final)}."
    )


def _faster(report: Report, final: Row) -> str:
    if not words.is_compared(report, final) or not final.speedup:
        return ""
    batch, found = next(iter(final.speedup.items()))
    if 0.95 < found.vs_original < 1.05:
        return ""
    reference = code(report.stages[report.reference].name)
    return f", {words.times(found.vs_original)} as fast as {reference} at batch {batch}"


def _named(manifest: Mapping[str, Any]) -> str:
    model = manifest["made_from"]["model"]
    if model["kind"] == "python":
        return code(model["name"])
    named = escape(model["name"])
    return f"an untrained {named}" if model["kind"] == "config" else named


def _results(report: Report) -> str:
    parts = [table(tables.stages(report)), tables.below_stages(report)]
    for title, speeds in tables.generation(report):
        parts += [f"{escape(title)}.", table(speeds), words.BELOW_GENERATION]
    if report.gates:
        parts += [f"Status: {words.STATUS[report.status]}.", table(tables.gates(report))]
    parts.append(f"Measured on: {escape(words.environment_line(report))}.")
    return "\n\n".join(parts)


def _layout(files: Mapping[str, Any]) -> str | None:
    """Return the suffix of the file that Transformers.js finds; None if there is no such file."""
    names = [Path(name).stem for name in files if name.startswith("onnx/") and name[-5:] == ".onnx"]
    suffixes = [name.removeprefix("model") for name in names if "config.json" in files]
    return next((suffix for suffix in suffixes if suffix in _DTYPES), None)


def _transformers_js(files: Mapping[str, Any]) -> str:
    suffix = _layout(files)
    if suffix is None:
        return '{ subfolder: "", model_file_name: "model", dtype: "fp32" }'
    return f'{{ dtype: "{_DTYPES[suffix]}" }}'


def _limits(report: Report, manifest: Mapping[str, Any]) -> list[str]:
    data, final = manifest["made_from"]["data"], report.final
    limits = [
        f"Its quality was measured on {final.quality.samples:,} samples of one data set "
        f"({escape(data['name'])}). Its quality on other data wasn't measured.",
        "It inherits the limits and the biases of the model that it was made from.",
        "Latencies are those of one machine. `compress bench model.onnx` gives them for another.",
    ]
    target = manifest["cpu"]["target_cpu"]
    if target is not None:
        limits.append(
            f"It was quantized for CPUs of the kind {target}. On an x86 CPU without VNNI, 8-bit "
            "sums can saturate; the scripts for Python and Node look at the CPU and then choose "
            "slower, exact products."
        )
    return limits


def _license(manifest: Mapping[str, Any]) -> str:
    if manifest["license"] is None:
        return (
            "Not stated: neither the recipe nor the original model's card names a license. Find "
            "out what the original model and its data allow before you pass this one on."
        )
    return f"{escape(manifest['license'])}, as {manifest['license_from']} says."


def _made_from(report: Report, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    made = manifest["made_from"]
    model, data = made["model"], made["data"]
    rows = [
        ("model", f"{model['name']} ({model['kind']})"),
        ("its revision", model["revision"]),
        ("its weights, SHA-256", model["weights_sha256"]),
        ("data", f"{data['name']} ({data['kind']})"),
        ("its fingerprint", data["fingerprint"]),
        ("stages", ", ".join(stage["use"] for stage in made["stages"])),
        ("recipe, SHA-256", manifest["recipe_hash"]),
        ("seed", str(manifest["seed"])),
        ("compress", report.version),
    ]
    return [(what, escape(value)) for what, value in rows if value is not None]


def _yaml(values: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.indent(mapping=2, sequence=2, offset=0)
    text = StringIO()
    yaml.dump(dict(values), text)
    return text.getvalue()


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("compress.report", "")
    environment = Environment(  # noqa: S701 (Markdown; what comes from outside is escaped)
        loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    return environment.get_template(_TEMPLATE)
