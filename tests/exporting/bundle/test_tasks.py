"""The scripts of the other tasks' bundles answer as the session, with nothing of us installed."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from compress.data.spec import Vocabulary
from compress.data.texts.encode import TextPreprocessor
from compress.data.vocabulary.train import train_tokenizer
from compress.exporting.bundle.write import write_bundle
from compress.exporting.to_onnx import export_module
from compress.measurement.session import run, session
from compress.tasks.task import TASKS

TEXTS = ["return the number of items", "open a file", "the number of a file", "a b c d e f g h i"]
SIZES = {
    "vocab_size": 320, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 16, "initializer_range": 0.5,
}  # fmt: skip


def make_preprocessor(*, generates=False):
    tokenizer = train_tokenizer(
        TEXTS, Vocabulary(vocab_size=320), generates=generates, max_length=16
    )
    if generates:
        tokenizer.pad_token = tokenizer.eos_token
    else:
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return TextPreprocessor(tokenizer)


def export(folder, module, task, preprocessor, labels=()):
    example, path = preprocessor(TEXTS[:2]), folder / "exported.onnx"
    return export_module(module.eval(), task=TASKS[task], example=example, path=path, labels=labels)


def make_bundle(folder, path, task, preprocessor, labels=(), **changes):
    return write_bundle(
        path,
        directory=folder / "bundle",
        preprocessor=preprocessor,
        labels=labels,
        task=replace(TASKS[task], **changes),
    )


def printed(model, *arguments):
    done = subprocess.run(
        [sys.executable, "-I", str(model.parent / "infer.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=model.parents[1],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


TAGS = ("O", "B-X", "I-X")


@pytest.mark.parametrize("side", ["right", "left"])
def test_words_with_their_tags(side, exported_model, tmp_path):
    _, path = exported_model("tokens")
    labels, preprocessor = TAGS, make_preprocessor()
    preprocessor.tokenizer.padding_side = side
    model = make_bundle(tmp_path, path, "token-classification", preprocessor, labels)
    rows = [text.split() for text in TEXTS] + [["quite", "unknown", "wörter", *"jklmnopqrstuv"]]
    encodings, firsts = preprocessor.encode_words(rows)
    wanted = []
    batch = run(session(model, threads=1), preprocessor.pad(encodings))["logits"]
    for row, scores, first in zip(rows, batch, firsts, strict=True):
        tags = ["-"] * len(row)
        start = len(scores) - len(first) if side == "left" else 0
        for place, word in enumerate(first, start):
            if word >= 0:
                tags[word] = labels[scores[place].argmax()]
        wanted.append(list(zip(row, tags, strict=True)))
    assert wanted[-1][-1][1] == "-", "its last words are beyond the model's length"
    blocks = printed(model, *(" ".join(row) for row in rows)).strip("\n").split("\n\n")
    got = [[tuple(line.split("\t")) for line in block.splitlines()] for block in blocks]
    assert got == wanted
    assert len({tag for block in got for _, tag in block}) > 2


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_text_goes_on_with_the_likeliest_tokens(name, exported_model, tmp_path):
    module, path = exported_model(name)
    preprocessor = make_preprocessor(generates=True)
    model = make_bundle(tmp_path, path, "text-generation", preprocessor)
    tokenizer = preprocessor.tokenizer
    ids = tokenizer("open a file")["input_ids"]
    with torch.no_grad():
        made = module.generate(
            torch.tensor([ids]), max_new_tokens=6, do_sample=False, pad_token_id=0
        )[0].tolist()
    wanted = tokenizer.decode([token for token in made if token != 0])
    assert len(made) > len(ids)
    assert printed(model, "--tokens", "6", "open a file") == wanted + "\n"
    # Longer than the model's positions: only the last tokens are read.
    assert len(printed(model, "--tokens", "50", "open a file")) >= len(wanted)


@pytest.mark.parametrize(
    ("pooling", "normalize"), [("mean", True), ("cls", True), ("cls", False), ("max", True)]
)
def test_vectors_are_made_of_tokens_as_the_model_says(pooling, normalize, exported_model, tmp_path):
    from compress.tasks.pooling import mean_pool

    module, path = exported_model("encoder")
    preprocessor = make_preprocessor()
    options = {"pooling": pooling, "normalize": normalize}
    model = make_bundle(tmp_path, path, "feature-extraction", preprocessor, **options)
    file = tmp_path / "vectors.npy"
    lines = printed(model, "--save", str(file), *TEXTS).splitlines()
    inputs = preprocessor(TEXTS)
    with torch.no_grad():
        hidden = module(**inputs).last_hidden_state
    mask = inputs["attention_mask"]
    vectors = {
        "mean": mean_pool(hidden, mask),
        "cls": hidden[:, 0],
        "max": hidden.masked_fill(mask[:, :, None] == 0, -torch.inf).amax(1),
    }[pooling]
    wanted = torch.nn.functional.normalize(vectors).numpy()
    given = wanted if normalize else vectors.numpy()
    np.testing.assert_allclose(np.load(file), given, atol=1e-5)
    table = np.array([[float(number) for number in line.split()[:4]] for line in lines])
    np.testing.assert_allclose(table, wanted @ wanted.T, atol=6e-5)
    assert all(line.endswith(text) for line, text in zip(lines, TEXTS, strict=True))


def test_a_long_text_fits_the_positions_that_come_after_padding(tmp_path):
    from transformers import RobertaConfig, RobertaModel

    from compress.models.transformers.positions import longest_text_of

    torch.manual_seed(0)
    config = RobertaConfig(**SIZES, pad_token_id=make_preprocessor().tokenizer.pad_token_id)
    module = RobertaModel(config).eval()
    most = longest_text_of(module)
    assert most == SIZES["max_position_embeddings"] - config.pad_token_id - 1
    preprocessor = TextPreprocessor(make_preprocessor().tokenizer, positions=most)
    path = export(tmp_path, module, "feature-extraction", preprocessor)
    model = make_bundle(tmp_path, path, "feature-extraction", preprocessor)
    assert printed(model, "open a file " * 100, "read").endswith("read\n")


class Bag(nn.Module):
    """The mean of the tokens' single scores."""

    def __init__(self):
        super().__init__()
        self.scores = nn.Embedding(320, 1)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask[:, :, None].float()
        return (self.scores(input_ids) * mask).sum(1) / mask.sum(1)


@pytest.mark.parametrize("labels", [("w", "x", "y", "z"), ("x",)])
def test_each_label_has_a_probability_of_its_own(labels, exported_model, tmp_path):
    preprocessor, task = make_preprocessor(), "multi-label-text-classification"
    if len(labels) == 1:
        torch.manual_seed(0)
        preprocessor.input_names = ("input_ids", "attention_mask")
        path = export(tmp_path, Bag(), task, preprocessor, labels)
    else:
        _, path = exported_model("sets")
    model = make_bundle(tmp_path, path, task, preprocessor, labels)
    scores = run(session(model, threads=1), preprocessor(TEXTS[:1]))["logits"][0]
    lines = printed(model, "--top", "4", TEXTS[0]).splitlines()[1:]
    got = {name: float(value) for value, name in (line.split() for line in lines)}
    wanted = dict(zip(labels, 1 / (1 + np.exp(-scores)), strict=True))
    assert got == {name: pytest.approx(float(value), abs=6e-5) for name, value in wanted.items()}
