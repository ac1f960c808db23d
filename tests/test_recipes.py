"""The recipes that ship: each is checked, and each runs small on models and data made here."""

import gzip
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import compress
from compress.measurement.macs.module import module_macs
from compress.models.load import load_model
from compress.recipe.load import load_recipe
from compress.report.document import Report
from compress.tasks.task import TASKS

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
QUICK = [
    "measure.rounds=5",
    "measure.warmup=1",
    "measure.seconds=0.01",
    "measure.batch_sizes=[1, 2]",
    "gates={}",
    "stages.quantize.evaluation={samples: 64, rounds: 5, seconds: 0.01, batch_sizes: [1, 2]}",
]


def recipe(name: str) -> Path:
    return next(path for path in RECIPES if path.name == name)


def epochs(*stages: str) -> list[str]:
    return [f"stages.{stage}.training.epochs=1" for stage in stages]


def fp32(*stages: str) -> list[str]:
    return [f"stages.{stage}.training.precision=fp32" for stage in stages]


def uses(report: Report) -> list[str | None]:
    return [row.use for row in report.stages]


BLOCKS = [
    "model.arguments.blocks=[1, 1]",
    "stages.distill.student.arguments.blocks=[1]",
]
"""Two stages of one block for the teacher, one for the student: exports take as long as blocks are
many."""
WIDTHS = [
    "model.arguments.blocks=[1]",
    "stages.distill.student.arguments={blocks: [1], width: 16, in_channels: 1, num_classes: 10}",
]
"""One block for the teacher, and one of half the width for the student."""


def infer(bundle: Path, *arguments: str) -> str:
    command = [sys.executable, "infer.py", *arguments]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipe_is_right(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = []
    if path.name in (
        "fashion-mnist.yaml",
        "mobilenet.yaml",
    ):  # their data is a package that may not be installed
        overrides = ["data={sklearn: digits}"]
    if path.name == "reranking.yaml":  # its data are the user's
        overrides = ["data={huggingface: my/rankings}"]
    if path.name == "sentence-retrieval.yaml":  # and these
        overrides = ["data={huggingface: my/pairs, columns: {text: query, text_pair: document}}"]
    loaded = load_recipe(path, overrides=overrides)
    assert loaded.name == path.stem
    assert loaded.build_stages()[-1][0] == "export"
    gates = loaded.gates
    assert (gates.accuracy_drop is None) == (gates.perplexity_ratio is not None)
    metric = loaded.measure.metric or TASKS[loaded.task].default_metric()
    assert gates.misfits(metric) == []


@pytest.mark.slow
def test_digits_runs_small(tmp_path: Path) -> None:
    report = compress.run(
        recipe("digits.yaml"),
        overrides=[
            *QUICK,
            *epochs("train", "distill", "prune.recovery"),
            *BLOCKS,
            "data.limit={train: 200, validation: 64, test: 64}",
            "data.calibration_samples=16",
        ],
        output=tmp_path / "run",
        threads=1,
    )
    assert uses(report) == [None, "train", "distill", "prune", "quantize", "export"]
    final, reference = report.stages[-1], report.stages[1]
    assert final.macs < 0.5 * reference.macs
    assert final.size_bytes < 0.25 * reference.size_bytes


@pytest.mark.slow
def test_fashion_mnist_runs_small_on_idx_files(tmp_path: Path) -> None:
    _idx_files(tmp_path)
    stages = ("train", "distill", "prune.recovery")
    report = compress.run(
        recipe("fashion-mnist.yaml"),
        overrides=[
            *QUICK,
            "stages.quantize.method=static",
            *epochs(*stages),
            *fp32(*stages),
            *WIDTHS,
            f"data.idx={tmp_path}",
            "stages.quantize.calibration.samples=16",
        ],
        output=tmp_path / "run",
        threads=1,
    )
    assert uses(report) == [None, "train", "distill", "prune", "quantize", "export"]
    teacher, final = report.stages[1], report.stages[-1]
    assert final.macs < 0.3 * teacher.macs


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("fashion-mnist.yaml", 2_797_034, 114_064_384),
        ("mobilenet.yaml", 700_202, 3_283_728),
    ],
)
def test_models_of_images_as_large_as_the_recipe_makes_them(
    name: str, params: int, macs: int
) -> None:
    loaded = load_recipe(recipe(name), overrides=["data={sklearn: digits}"])
    task = TASKS[loaded.task]
    module = load_model(loaded.model, task=task, seed=0).module.eval()
    assert sum(parameter.numel() for parameter in module.parameters()) == params
    images = {"pixel_values": torch.zeros(1, 1, 28, 28)}
    assert module_macs(module, task=task, inputs=images).total == macs
    assert task.logits(module, images).shape == (1, 10)


@pytest.mark.slow
def test_mobilenet_runs_small_and_trains_quantization_aware(tmp_path: Path) -> None:
    _idx_files(tmp_path)
    report = compress.run(
        recipe("mobilenet.yaml"),
        overrides=[
            *QUICK,
            *epochs("train"),
            "model={python: tests.runner.nets:mobilenet}",
            f"data.idx={tmp_path}",
            "stages.quantize.budget=0.9",
            "stages.quantize.target_cpu=x86-vnni",
            "stages.quantize.calibration={samples: 16, method: minmax}",
            "stages.quantize.recovery={training: {epochs: 1}}",
        ],
        output=tmp_path / "run",
        threads=1,
    )
    assert uses(report) == [None, "train", "quantize", "export"]
    assert report.stages[-1].size_bytes < 0.6 * report.stages[1].size_bytes
    names = [candidate.name for candidate in report.stages[2].candidates]
    assert names == ["float", "static QDQ, U8S8, minmax, plain", names[1] + ", trained"]


def _idx_files(folder: Path) -> None:
    """Images whose brightness is their label."""
    generator = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 20)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = generator.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        images += (labels * 18)[:, None, None]
        _idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        _idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)


def _idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    with gzip.open(path, "wb") as file:
        file.write(header + array.tobytes())


ROWS = [
    {"text": f"the {noun} was {word}", "label": label}
    for noun in ("film", "food")
    for word, label in (
        ("good", "positive"),
        ("fine", "positive"),
        ("bad", "negative"),
        ("poor", "negative"),
    )
]


@pytest.mark.slow
def test_reranking_runs_small_on_a_local_encoder(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    from tests.tasks import texts

    model = tmp_path / "model"
    torch.manual_seed(0)
    config = {**texts.CONFIG, "num_hidden_layers": 2, "max_position_embeddings": 96}
    BertModel(BertConfig(**config)).save_pretrained(model)
    texts.preprocessor().tokenizer.save_pretrained(model)
    data = texts.write_splits(tmp_path / "data", "ranking", 150)
    stages = ("train", "depth.recovery", "distill")
    report = compress.run(
        recipe("reranking.yaml"),
        overrides=[
            *QUICK,
            *epochs(*stages),
            *fp32(*stages),
            "stages.train.training.learning_rate=0.01",
            "stages.quantize.method=dynamic",
            "stages.depth.layers=1",
            f"model.transformers={model}",
            f"data={{huggingface: json, files: {json.dumps(data['files'])}, max_length: 24}}",
        ],
        output=tmp_path / "run",
        threads=1,
    )
    used = [None, "train", "vocabulary", "depth", "distill", "quantize", "export"]
    assert uses(report) == used
    original, trained, *_, final = report.stages
    assert trained.quality.value > original.quality.value
    assert final.size_bytes < 0.5 * original.size_bytes
    (ranking,) = infer(tmp_path / "run", "tree boat", "red tree", "lamp boat").splitlines()
    assert sorted(each["document"] for each in json.loads(ranking)) == [0, 1]


@pytest.mark.slow
def test_sentence_retrieval_runs_small_on_a_local_encoder(tmp_path: Path) -> None:
    from tests.tasks import texts

    model = save_encoder(tmp_path / "model")
    data = texts.write_splits(tmp_path / "data", "sought", 150)
    stages = ("distill", "prune.recovery")
    report = compress.run(
        recipe("sentence-retrieval.yaml"),
        overrides=[
            *QUICK,
            *epochs(*stages),
            *fp32(*stages),
            "stages.quantize.method=dynamic",
            "stages.distill.student={layers: 1}",
            f"model.transformers={model}",
            f"data.files={json.dumps(data['files'])}",
            "data.huggingface=json",
            "data.max_length=24",
        ],
        output=tmp_path / "run",
        threads=1,
    )
    assert uses(report) == [None, "distill", "prune", "quantize", "export"]
    assert report.baseline is not None
    assert report.baseline.name == "BM25 of words and characters"
    original, *_, final = report.stages
    assert final.quality.metric == report.baseline.quality.metric == "mrr"
    assert final.size_bytes < 0.7 * original.size_bytes
    run = tmp_path / "run"
    infer(run, "--save", "v.npy", "red tree", "blue boat")
    assert np.load(run / "v.npy").shape == (2, 32)


def _text_classifier(folder: Path, *, layers: int, more: tuple[str, ...] = ()) -> list[str]:
    """Overrides that name a small BERT and its data, made in the folder.

    `more` : tokens that the data doesn't use.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = ["good", "fine", "bad", "poor", "film", "food", "the", "a", "was"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *more]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    model = folder / "model"
    torch.manual_seed(0)
    BertForSequenceClassification(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=128,
            id2label={0: "negative", 1: "positive"},
            label2id={"negative": 0, "positive": 1},
        )
    ).save_pretrained(model)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=16).save_pretrained(model)
    pq.write_table(pa.Table.from_pylist(ROWS * 12), folder / "train.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "test.parquet")
    files = f"{{train: {folder}/train.parquet, test: {folder}/test.parquet}}"
    return [
        f"model.transformers={model}",
        f"data={{huggingface: parquet, files: {files}, max_length: 16}}",
    ]


def _require_same_answers(run: Path, report: Report) -> None:
    lines = infer(run, "--top", "1", *(row["text"] for row in ROWS)).splitlines()
    answers = [line.split()[-1] for line in lines[1::2]]
    right = sum(answer == row["label"] for answer, row in zip(answers, ROWS, strict=True))
    assert right / len(ROWS) == report.stages[-1].quality.value, "the script answers as the run did"


@pytest.mark.slow
def test_text_classification_runs_small_on_a_local_model_and_parquet(tmp_path: Path) -> None:
    stages = ("distill", "prune.recovery")
    run = tmp_path / "run"
    report = compress.run(
        recipe("text-classification.yaml"),
        overrides=[
            *QUICK,
            *epochs(*stages),
            *fp32(*stages),
            *_text_classifier(tmp_path, layers=1),
            "stages.distill.student={layers: 1, width: {intermediate_size: 32}}",
        ],
        output=run,
        threads=1,
    )
    assert uses(report) == [None, "distill", "prune", "quantize", "export"]
    original, distill, prune, quantize, export = report.stages
    assert distill.macs == pytest.approx(original.macs / 2, rel=0.1)
    assert prune.macs == pytest.approx(0.75 * distill.macs, rel=0.05)
    assert quantize.params == prune.params
    assert export.quality.samples == 8
    _require_same_answers(run, report)


@pytest.mark.slow
def test_text_classification_tiny_runs_small_on_a_local_model(tmp_path: Path) -> None:
    stages = ("depth.recovery", "prune.recovery")
    run = tmp_path / "run"
    unused = tuple(f"unused{number}" for number in range(40))
    report = compress.run(
        recipe("text-classification-tiny.yaml"),
        overrides=[
            *QUICK,
            "stages.quantize.method=dynamic",
            *epochs(*stages),
            *fp32(*stages),
            *_text_classifier(tmp_path, layers=2, more=unused),
        ],
        output=run,
        threads=1,
    )
    assert uses(report) == [None, "vocabulary", "depth", "prune", "quantize", "export"]
    original, vocabulary, depth, prune, *_ = report.stages
    assert vocabulary.params == original.params - 32 * 40
    assert vocabulary.quality.value == original.quality.value
    assert depth.macs == pytest.approx(original.macs / 2, rel=0.1)
    assert prune.macs == pytest.approx(0.75 * depth.macs, rel=0.05)
    _require_same_answers(run, report)


@pytest.mark.slow
def test_ngrams_run_small_on_a_local_model(tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = compress.run(
        recipe("ngrams.yaml"),
        overrides=[
            *(each for each in QUICK if not each.startswith("stages.quantize")),
            *fp32("distill"),
            *_text_classifier(tmp_path, layers=1),
            "stages.distill.student.ngrams={vocabulary: 300, buckets: 5000, start: linear}",
        ],
        output=run,
        threads=1,
    )
    assert uses(report) == [None, "distill", "quantize", "export"]
    _, student, stored, final = report.stages
    assert 5000 * 2 < student.params < (300 + 5000) * 2 + 3
    assert stored.size_bytes < student.size_bytes
    assert final.from_text is not None
    _require_same_answers(run, report)


@pytest.mark.slow
def test_vit_runs_small_on_a_local_model_and_an_image_folder(tmp_path: Path) -> None:
    from PIL import Image
    from transformers import ViTConfig, ViTForImageClassification

    names = ["dark", "light"]
    model = tmp_path / "model"
    torch.manual_seed(0)
    ViTForImageClassification(
        ViTConfig(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=128,
            image_size=16,
            patch_size=4,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
        )
    ).save_pretrained(model)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": 16, "width": 16},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (model / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    images = tmp_path / "images"
    for name, level in zip(names, (30, 220), strict=True):
        (images / name).mkdir(parents=True)
        for index in range(24):
            colour = (level, level - index, level)
            Image.new("RGB", (20, 20), colour).save(images / name / f"{index}.png")
    run = tmp_path / "run"
    report = compress.run(
        recipe("vit.yaml"),
        overrides=[
            *QUICK,
            "stages.quantize.method=dynamic",
            *epochs("distill", "prune.recovery"),
            "stages.distill.student={layers: 1, width: {intermediate_size: 64}}",
            "stages.prune.round_to=1",
            f"model.transformers={model}",
            f"data={{huggingface: imagefolder, folder: {images}}}",
        ],
        output=run,
        threads=1,
    )
    assert uses(report) == [None, "distill", "prune", "quantize", "export"]
    original, distill, prune, _, export = report.stages
    assert distill.macs < 0.8 * original.macs
    assert prune.macs == pytest.approx(0.5 * distill.macs, rel=0.05)
    assert export.size_bytes < original.size_bytes
    answer = infer(run, str(images / "light" / "0.png"))
    assert "light" in answer
    assert "dark" in answer


LLAMA = (
    "model.config={model_type: llama, vocab_size: 512, hidden_size: 32, intermediate_size: 96, "
    "num_hidden_layers: 1, num_attention_heads: 4, num_key_value_heads: 4, "
    "max_position_embeddings: 64, tie_word_embeddings: true, bos_token_id: 0, eos_token_id: 0}"
)


@pytest.fixture
def small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipes that read Python's library find these of its packages alone."""
    names = {"asyncio", "decimal", "email", "http", "json", "logging", "random", "unittest", "xml"}
    monkeypatch.setattr(sys, "stdlib_module_names", frozenset(names))


@pytest.mark.slow
@pytest.mark.usefixtures("small_library")
def test_text_generation_runs_small(tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = compress.run(
        recipe("text-generation.yaml"),
        overrides=[
            *QUICK,
            "stages.quantize.method=dynamic",
            *epochs("train", "distill"),
            LLAMA,
            "stages.distill.student={layers: 1, width: {intermediate_size: 8}}",
            "data.limit={train: 200, validation: 20, test: 20}",
            "data.tokenizer={train: {vocab_size: 512}}",
            "data.max_length=64",
        ],
        output=run,
        threads=1,
    )
    assert uses(report) == [None, "train", "distill", "quantize", "export"]
    untrained, teacher, student, _, final = report.stages
    assert {row.quality.metric for row in report.stages} == {"perplexity"}
    assert not final.quality.higher_is_better
    assert untrained.quality.value > 400, "an untrained model wavers between all of 512 tokens"
    assert teacher.quality.value < 0.7 * untrained.quality.value
    assert student.macs < 0.8 * teacher.macs
    assert final.quality.value < 1.1 * student.quality.value
    assert final.size_bytes < 0.5 * student.size_bytes
    assert infer(run, "--tokens", "4", "Return the").startswith("Return the")


@pytest.mark.slow
@pytest.mark.usefixtures("small_library")
def test_token_classification_runs_small(tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = compress.run(
        recipe("token-classification.yaml"),
        overrides=[
            *QUICK,
            "stages.quantize.method=dynamic",
            *epochs("distill", "prune.recovery"),
            "stages.train.training.epochs=4",
            "stages.train.training.learning_rate=2.0e-3",
            "model.config.num_hidden_layers=1",
            "stages.distill.student={layers: 1, width: {intermediate_size: 64}}",
            "model.config.hidden_size=64",
            "model.config.intermediate_size=128",
            "data.limit={train: 400, validation: 60, test: 100}",
        ],
        output=run,
        threads=1,
    )
    assert uses(report) == [None, "train", "distill", "prune", "quantize", "export"]
    untrained, teacher, student, pruned, *_, final = report.stages
    assert {row.quality.metric for row in report.stages} == {"f1_entities"}
    assert teacher.quality.value > untrained.quality.value
    assert pruned.macs < 0.8 * student.macs
    assert final.quality.samples == 100
    tagged = [line.split("\t") for line in infer(run, "return x", "def f ( )").splitlines()]
    words = [words[0] for words in tagged]
    assert words == ["return", "x", "", "def", "f", "(", ")", ""]
    labels = set(json.loads((run / "labels.json").read_text(encoding="utf-8")))
    assert {"O", "B-STRING", "I-STRING", "B-KEYWORD"} <= labels
    assert {tag for _, tag in (words for words in tagged if len(words) == 2)} <= labels


def save_encoder(model: Path) -> Path:
    """A small encoder with random weights, and a tokenizer that was trained on docstrings."""
    from transformers import BertConfig, BertModel

    from compress.data.sources.docstrings import load_docstrings
    from compress.data.spec import Vocabulary
    from compress.data.vocabulary.train import train_tokenizer

    texts = [sample["text"] for sample in load_docstrings(part="first_sentence")["train"]]
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=600,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.1,
        )
    ).save_pretrained(model)
    tokenizer = train_tokenizer(texts, Vocabulary(vocab_size=600), generates=False, max_length=64)
    tokenizer.save_pretrained(model)
    return model


@pytest.mark.slow
@pytest.mark.usefixtures("small_library")
def test_sentence_embeddings_run_small_on_a_local_model(tmp_path: Path) -> None:
    model = save_encoder(tmp_path / "model")
    run = tmp_path / "run"
    report = compress.run(
        recipe("sentence-embeddings.yaml"),
        overrides=[
            *QUICK,
            "stages.quantize.method=dynamic",
            "stages.distill.student={layers: 1, width: {intermediate_size: 32}}",
            "stages.distill.training.epochs=2",
            "stages.distill.training.learning_rate=2.0e-3",
            f"model.transformers={model}",
            "data.limit={train: 600, validation: 40, test: 60}",
        ],
        output=run,
        threads=1,
    )
    assert uses(report) == [None, "distill", "quantize", "export"]
    original, student, _, final = report.stages
    assert original.quality.value == pytest.approx(1)
    assert 0.3 < student.quality.value < 1
    assert final.quality.samples == 60
    assert final.size_bytes < 0.4 * original.size_bytes
    lines = infer(run, "--save", "v.npy", "Return a copy.", "Return a copy.", "Open a file.")
    vectors = np.load(run / "v.npy")
    assert vectors.shape == (3, 32)
    assert float(lines.split()[1]) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("small_library")
def test_static_embeddings_run_small_on_a_local_model(tmp_path: Path) -> None:
    model, run = save_encoder(tmp_path / "model"), tmp_path / "run"
    report = compress.run(
        recipe("static-embeddings.yaml"),
        overrides=[
            *(each for each in QUICK if not each.startswith("stages.quantize")),
            "stages.distill.student.static.dimensions=16",
            "stages.distill.training.epochs=2",
            f"model.transformers={model}",
            "data.limit={train: 600, validation: 40, test: 60}",
        ],
        output=run,
        threads=1,
    )
    assert uses(report) == [None, "vocabulary", "distill", "quantize", "export"]
    original, cut, student, stored, final = report.stages
    assert original.quality.value == pytest.approx(1)
    assert 0.3 < student.quality.value < 1
    assert student.params < 0.5 * cut.params
    assert stored.size_bytes < 0.5 * student.size_bytes
    assert final.quality.samples == 60
    lines = infer(run, "--save", "v.npy", "Return a copy.", "Return a copy.", "Open a file.")
    vectors = np.load(run / "v.npy")
    assert vectors.shape == (3, 16)
    assert float(lines.split()[1]) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
