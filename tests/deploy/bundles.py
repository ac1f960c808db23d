"""Small trained models, as our own pipeline hands them over."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from compress import Export, Pipeline, Quantize, Train
from compress.runner.folder.marker import MARKER
from tests.deploy.lines import load_lines

INPUTS = 200
_MEASURE = {"batch_sizes": [1], "seconds": 0.2, "warmup": 2}
_DIGITS = {"sklearn": "digits", "test_fraction": 0.2, "image": {"mean": [0.3], "std": [0.37]}}
_RGB = {"size": [16, 16], "channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}


@dataclass(frozen=True)
class Deployed:
    """A bundle, and what our own process answers from it.

    Attributes
    ----------
    folder : the bundle.
    inputs : texts, or the paths of images.
    labels : class names.
    probabilities : float64 (INPUTS, labels).
    quantized : whether its weights are in 8 bits.
    """

    folder: Path
    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: np.ndarray
    quantized: bool

    def require_same(
        self, answers: list[dict[str, float]], *, only: Sequence[bool] | None = None
    ) -> None:
        """Hold a runtime's answers, {label: probability} of each input, against our own.

        A runtime may answer with the likeliest labels only. fp32 must agree within 1e-3, INT8 in
        the likeliest label of 99 % of the inputs.

        Parameters
        ----------
        only : which of the inputs the answers are for; None: all.
        """
        kept = np.ones(len(self.inputs), bool) if only is None else np.array(only)
        probabilities = self.probabilities[kept]
        assert len(answers) == len(probabilities)
        if self.quantized:
            ours = probabilities.argmax(-1)
            theirs = [self.labels.index(max(one, key=one.__getitem__)) for one in answers]
            agreement = float(np.mean(ours == np.array(theirs)))
            assert agreement >= 0.99, f"the same class of {agreement:.1%} of the inputs"
            return
        for answer, row in zip(answers, probabilities, strict=True):
            wanted = dict(zip(self.labels, row, strict=True))
            assert max(answer, key=answer.__getitem__) == self.labels[row.argmax()]
            worst = max(abs(value - wanted[label]) for label, value in answer.items())
            assert worst < 1e-3


def write_images(folder: Path, *, size: int | None = None) -> tuple[str, ...]:
    """Digits as PNG files, in grey, or in RGB of a size; returns their paths."""
    from sklearn.datasets import load_digits

    folder.mkdir(parents=True, exist_ok=True)
    pixels = (load_digits().images[-INPUTS:] * 255 / 16).astype(np.uint8)
    paths = [folder / f"{index:03d}.png" for index in range(INPUTS)]
    for path, image in zip(paths, pixels, strict=True):
        picture = Image.fromarray(image)
        if size is not None:
            picture = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        picture.save(path)
    return tuple(map(str, paths))


def texts() -> tuple[str, ...]:
    """Texts that no model was trained on, some of them longer than a model's length."""
    found = [row["text"] for row in load_lines()["test"] if row["text"][0] != "-"][: INPUTS - 5]
    return (*found, *(" ".join(found[at : at + 30]) for at in range(5)))


def digits(root: Path, *, quantized: bool = False, precisions: tuple[str, ...] = ()) -> Path:
    """Our own ResNet on grey digits."""
    model = {
        "python": "compress.models.resnet:resnet",
        "arguments": {"blocks": [1, 1], "width": 16, "in_channels": 1, "num_classes": 10},
    }
    plan = Plan("digits", model, _DIGITS, "image-classification", epochs=16)
    quantize = {"method": "static"} if quantized else None
    return plan.run(root, quantize=quantize, precisions=precisions)


def vit(root: Path, *, quantized: bool) -> Path:
    """A vision transformer of `transformers` on digits in RGB, resized to 16x16."""
    config = {
        "model_type": "vit", "image_size": 16, "patch_size": 4, "hidden_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
        "num_labels": 10,
    }  # fmt: skip
    data = {**_DIGITS, "image": _RGB}
    plan = Plan("vit", {"config": config}, data, "image-classification", epochs=25)
    return plan.run(root, quantize={"method": "dynamic"} if quantized else None)


def bert(
    root: Path, *, quantize: dict[str, Any] | None = None, precisions: tuple[str, ...] = ()
) -> Path:
    """A small BERT with a word-piece tokenizer on lines of source files.

    `quantize` : the stage's fields; None: it stays in float.
    `precisions` : those of its bundle; empty: one alone.
    """
    model = {"transformers": str(_untrained_bert(root))}
    data = {"python": "tests.deploy.lines:load_lines", "max_length": 32, "limit": {"train": 4000}}
    plan = Plan("bert", model, data, "text-classification", epochs=4)
    return plan.run(root, quantize=quantize, precisions=precisions)


def embeddings(
    root: Path, *, task: str = "feature-extraction", quantize: dict[str, Any] | None = None
) -> Path:
    """The same BERT's vectors of texts; untrained, as only sameness is looked at."""
    model = {"transformers": str(_untrained_bert(root))}
    data = {
        "python": "compress.data.sources.docstrings:load_docstrings",
        "arguments": {"part": "first_sentence"}, "columns": {"label": None},
        "max_length": 32, "limit": {"train": 500, "test": 100, "validation": 100},
    }  # fmt: skip
    return Plan(task, model, data, task).run(root, quantize=quantize)


def rankings(root: Path, *, quantized: bool) -> Path:
    """A reranker, made of the same BERT, of kinds of lines."""
    model = {"transformers": str(_untrained_bert(root)), "arguments": {"num_labels": 1}}
    data = {"python": "tests.deploy.lines:load_rankings", "max_length": 64, "limit": {"test": 200}}
    plan = Plan("rankings", model, data, "text-ranking", epochs=4)
    # Scales of its own for each batch would make a score depend on the documents beside it.
    return plan.run(root, quantize={"method": "static_scales"} if quantized else None)


def tokens(root: Path) -> Path:
    """A BERT with a byte-level tokenizer on kinds of words; untrained, as only sameness counts."""
    config = {
        "model_type": "bert", "vocab_size": 512, "hidden_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 96, "max_position_embeddings": 64,
        "num_labels": 9,
    }  # fmt: skip
    data = {
        "python": "compress.data.sources.source_lines:load_source_lines", "max_length": 32,
        "tokenizer": {"train": {"vocab_size": 512}},
        "limit": {"train": 500, "test": 100, "validation": 100},
    }  # fmt: skip
    return Plan("tokens", {"config": config}, data, "token-classification").run(root)


def llama(root: Path) -> Path:
    """A small Llama on docstrings, which remembers what it has read (a key-value cache)."""
    config = {
        "model_type": "llama", "vocab_size": 1024, "hidden_size": 48, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    data = {
        "python": "compress.data.sources.docstrings:load_docstrings",
        "arguments": {"part": "first_sentence"},
        "tokenizer": {"train": {"vocab_size": 1024}}, "max_length": 64,
        "limit": {"train": 1500},
    }  # fmt: skip
    return Plan("llama", {"config": config}, data, "text-generation", epochs=1).run(root)


@dataclass(frozen=True)
class Plan:
    """A model and its data; without epochs it stays as random as it is."""

    name: str
    model: dict[str, Any]
    data: dict[str, Any]
    task: str
    epochs: int = 0

    def run(
        self,
        root: Path,
        *,
        quantize: dict[str, Any] | None = None,
        precisions: tuple[str, ...] = (),
    ) -> Path:
        """Train, quantize, export; returns the run's folder. What lies there already is taken.

        Parameters
        ----------
        quantize : the stage's fields; None: the model stays in float.
        precisions : those of its bundle; empty: one alone.
        """
        stages: list[Any] = []
        if self.epochs:
            training = {"epochs": self.epochs, "batch_size": 64, "learning_rate": 2.0e-3}
            stages.append(Train(training=training))
        name = f"{self.name}-fp32"
        if quantize is not None:
            words = [quantize.get("graph"), "fixed" if quantize["method"] == "fixed" else None]
            name = "-".join([self.name, "int8", *filter(None, words)])
            _begin_as(root / f"{self.name}-fp32", root / name)
            stages.append(Quantize(**quantize))
        ours = "python" in self.model
        if precisions:
            name = f"{self.name}-precisions"
            _begin_as(root / f"{self.name}-fp32", root / name)
            export = {"precisions": precisions, "evaluation": {"seconds": 0.1, "rounds": 5}}
            stages.append(Export(**export))
        else:
            stages.append(Export(transformers_js=not ours, license="apache-2.0"))
        pipeline = Pipeline(
            stages, name=name, model=self.model, task=self.task, data=self.data, measure=_MEASURE
        )
        report = pipeline.run(output=root / name, threads=1, device="cpu")
        if self.epochs and self.task != "text-generation":
            quality = report.stages[-1].quality.value
            assert quality > 0.8, "a model that learned nothing shows nothing"
        return root / name


def _begin_as(other: Path, run: Path) -> None:
    """Give a new run what another has finished: a run goes on from whatever it finds."""
    if other.is_dir() and not run.is_dir():
        run.mkdir()
        shutil.copy(other / MARKER, run / MARKER)
        for folder in (other / "stages").glob("0[01]-*"):
            shutil.copytree(folder, run / "stages" / folder.name)


def _untrained_bert(root: Path) -> Path:
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = root / "bert-base"
    if (folder / "config.json").is_file():
        return folder
    words = BertWordPieceTokenizer()
    words.train_from_iterator(
        (row["text"] for row in load_lines()["train"]), vocab_size=1500, show_progress=False
    )
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sorted(words.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("\n".join(word for word, _ in ordered), encoding="utf-8")
    labels = sorted(Counter(row["label"] for row in load_lines()["train"]))
    torch.manual_seed(0)
    BertForSequenceClassification(
        BertConfig(
            vocab_size=len(ordered),
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            max_position_embeddings=64,
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
        )
    ).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return folder


def deployed(
    folder: Path, inputs: tuple[str, ...], *, quantized: bool, file: str | None = None
) -> Deployed:
    """A bundle with our own answers to inputs, one at a time.

    `file` : that of one of several precisions, whose 8-bit products are exact; None: model.onnx.
    """
    from compress.measurement.session import run, session

    labels = tuple(json.loads((folder / "labels.json").read_text()))
    opened = session(folder / (file or "model.onnx"), threads=1, exact=file is not None)
    logits = [run(opened, one)["logits"] for one in preprocessed(folder, inputs)]
    return Deployed(folder, inputs, labels, softmax(np.concatenate(logits)), quantized)


def preprocessed(folder: Path, inputs: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Tensors by input name, of one input at a time, made by our own preprocessors."""
    from transformers import AutoTokenizer

    from compress.data.images.transform import ImagePreprocessor, Transform
    from compress.data.texts.encode import TextPreprocessor

    constants = json.loads((folder / "preprocessing.json").read_text())
    if constants["modality"] == "text":
        texts = TextPreprocessor(
            AutoTokenizer.from_pretrained(folder, trust_remote_code=False), constants["max_length"]
        )
        yield from (texts([one]) for one in inputs)
        return
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in constants.items()
        if key in {field.name for field in fields(Transform)}
    }
    images = ImagePreprocessor(Transform(**given))
    yield from (images([Image.open(path)]) for path in inputs)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, C), in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
