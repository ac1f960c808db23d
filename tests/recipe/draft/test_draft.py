"""What is guessed from configs and first rows, without any weights."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from compress.errors import InputError, RecipeError
from compress.recipe.check import check
from compress.recipe.document import parse
from compress.recipe.draft.draft import draft_recipe
from tests.recipe.folders import model_folder, sentence_folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def drafted(model, **given):
    """The recipe, which a check takes, and its comments in one line."""
    text = draft_recipe(str(model), **given)
    comments = " ".join(line.strip(" #") for line in text.splitlines() if line.strip()[:1] == "#")
    return check(parse(text, "recipe.yaml")), comments


def lines(name, *rows):
    Path(name).write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return name


def uses(recipe):
    return [step.use for step in recipe.stages]


SCORES = [{"text": f"a text of number {n}", "score": n / 7} for n in range(30)]
CLASSES = [{"text": f"a text of number {n}", "label": "abc"[n % 3]} for n in range(30)]
SPANS = [
    {"question": "who?", "context": f"it was {n}", "answers": {"text": ["it"], "answer_start": [0]}}
    for n in range(30)
]
CHOICES = [
    {"sent1": f"number {n} is", "ending0": "even", "ending1": "odd", "label": n % 2}
    for n in range(30)
]
SETS = [{"text": f"a text of number {n}", "label": ["a", "b"][: n % 3]} for n in range(30)]
BERT = "BertForSequenceClassification"


@pytest.mark.parametrize(
    ("kind", "rows", "task", "stages"),
    [
        (BERT, CLASSES, "text-classification", ["train", "quantize", "export"]),
        ("BertModel", CLASSES, "text-classification", ["train", "quantize", "export"]),
        ("BertForMaskedLM", CLASSES, "text-classification", ["train", "quantize", "export"]),
        ("BertModel", SCORES, "text-regression", ["train", "quantize", "export"]),
        (BERT, SETS, "multi-label-text-classification", ["train", "quantize", "export"]),
        ("BertModel", SPANS, "question-answering", ["train", "quantize", "export"]),
        ("BertForQuestionAnswering", SPANS, "question-answering", ["quantize", "export"]),
        ("BertForMultipleChoice", CHOICES, "multiple-choice", ["quantize", "export"]),
        ("BertForMaskedLM", [{"text": "one two"}] * 9, "fill-mask", ["quantize", "export"]),
    ],
)
def test_the_task_follows_from_the_weights_and_the_rows(kind, rows, task, stages):
    model_folder(Path("model"), architectures=[kind])
    recipe, _ = drafted("model", data=lines("train.jsonl", *rows))
    assert recipe.task == task
    assert uses(recipe) == stages
    assert recipe.data.max_length is not None
    assert recipe.data.max_length <= 64


def test_a_head_of_one_number_is_for_regression():
    model_folder(Path("model"), architectures=[BERT], num_labels=1)
    recipe, comments = drafted("model", data=lines("train.jsonl", *SCORES))
    assert recipe.task == "text-regression"
    assert (uses(recipe), recipe.model.arguments) == (["quantize", "export"], {})
    assert "The metric is pearson." in comments
    model_folder(Path("model"), architectures=["BertModel"])
    recipe, _ = drafted("model", data=lines("train.jsonl", *SCORES))
    assert recipe.model.arguments == {"num_labels": 1, "problem_type": "regression"}


def test_choices_in_columns_of_their_own():
    model_folder(Path("model"), architectures=["BertForMultipleChoice"])
    recipe, comments = drafted("model", data=lines("train.jsonl", *CHOICES))
    named = {"question": "sent1", "choices": ["ending0", "ending1"]}
    assert recipe.data.columns.inputs == named
    assert "By the usual names of such columns." in comments
    rows = [{"sent1": "a", "label": 0}]
    with pytest.raises(InputError, match=r"holds the choices of multiple-choice\? Say it with"):
        draft_recipe("model", data=lines("few.jsonl", *rows))


def test_pairs_of_texts_by_their_names():
    model_folder(Path("model"), architectures=[BERT], id2label={"0": "no", "1": "yes"})
    rows = [
        {"premise": f"first {n}", "hypothesis": f"second {n}", "label": n % 2} for n in range(30)
    ]
    recipe, comments = drafted("model", data=lines("train.jsonl", *rows))
    columns = recipe.data.columns
    assert (columns.text, columns.text_pair) == ("premise", "hypothesis")
    assert uses(recipe) == ["quantize", "export"]
    assert "Two columns whose names belong together." in comments


def test_a_sentence_model_needs_no_labels():
    sentence_folder(Path("model"), pooling={"pooling_mode_mean_tokens": True}, max_seq_length=32)
    rows = [{"text": "word " * 40}] * 30
    recipe, _ = drafted("model", data=lines("train.jsonl", *rows), goal="8x")
    assert recipe.task == "sentence-similarity"
    assert recipe.data.max_length == 32
    assert uses(recipe) == ["distill", "prune", "quantize", "export"]
    assert recipe.stages[0].stage.losses.response is None
    assert recipe.stages[1].stage.recovery.losses.feature is not None
    recipe, comments = drafted("model")
    assert recipe.data.python.endswith(":load_docstrings")
    assert "Texts of Python's own documentation, to begin with." in comments


def test_data_without_labels_learns_from_answers_alone():
    model_folder(Path("model"), architectures=[BERT])
    data = lines("train.jsonl", *[{"text": f"number {n}"} for n in range(9)])
    with pytest.raises(InputError, match="NAME, one of text, or null if there are none"):
        draft_recipe("model", data=data)
    recipe, comments = drafted("model", data=data, goal="8x", overrides=["data.columns.label=null"])
    assert recipe.data.columns.label is None
    assert uses(recipe) == ["distill", "prune", "quantize", "export"]
    assert recipe.stages[0].stage.losses.labels is None
    assert "The metric is agreement." in comments


@pytest.mark.parametrize(
    ("goal", "stages"),
    [
        (None, ["quantize", "export"]),
        ("3.5x", ["quantize", "export"]),
        ("4x", ["prune", "quantize", "export"]),
        ("9", ["distill", "prune", "quantize", "export"]),
        ("100x", ["distill", "prune", "quantize", "export"]),
    ],
)
def test_a_larger_goal_cuts_more(goal, stages):
    model_folder(Path("model"), architectures=[BERT], id2label={"0": "a", "1": "b", "2": "c"})
    recipe, comments = drafted("model", data=lines("train.jsonl", *CLASSES), goal=goal)
    assert uses(recipe) == stages
    assert recipe.gates.size_ratio == (None if goal is None else float(goal.rstrip("x")))
    assert ("That is less than the goal" in comments) == (goal == "100x")


def header(path, shapes):
    """A safetensors file of zeros."""
    entries, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        entries[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))


def test_large_embeddings_are_told_in_the_estimate_and_lose_tokens():
    model_folder(Path("model"), architectures=["BertModel"], vocab_size=6000)
    body = {f"encoder.layer.{n}.output.dense.weight": (100, 120) for n in range(6)}
    header(
        Path("model/model.safetensors"),
        {"embeddings.word_embeddings.weight": (6000, 100), **body},
    )
    recipe, comments = drafted("model", data=lines("train.jsonl", *CLASSES), goal="4x")
    # 600,000 of 672,000 numbers are embeddings: without half of the tokens 3.6 / 0.55 is left.
    assert uses(recipe) == ["train", "vocabulary", "quantize", "export"]
    assert "About 6.5 times smaller" in comments
    recipe, comments = drafted("model", data="train.jsonl", goal="20x")
    assert uses(recipe) == ["train", "vocabulary", "distill", "prune", "quantize", "export"]
    assert "That is less than the goal" in comments


def test_a_family_that_is_not_described_is_not_pruned():
    model_folder(Path("model"), architectures=["XLNetForSequenceClassification"], n_layer=4,
                 model_type="xlnet", id2label={"0": "a", "1": "b", "2": "c"})  # fmt: skip
    recipe, _ = drafted("model", data=lines("train.jsonl", *CLASSES), goal="6x")
    assert "prune" not in uses(recipe)


def test_a_model_of_the_hub_says_what_can_not_be_seen():
    recipe, comments = drafted("some/model", task="text-classification", data="some/data")
    assert (recipe.model.transformers, recipe.data.huggingface) == ("some/model", "some/data")
    assert "Its columns can't be seen from here" in comments
    with pytest.raises(InputError, match="the task isn't clear from some/model and some/data"):
        draft_recipe("some/model", data="some/data")


def test_a_table_of_numbers_is_one_vector():
    Path("table.csv").write_text(
        "name,age,height,price\n" + "".join(f"n{n},{n},1.{n},{n}.5\n" for n in range(30))
    )
    Path("nets.py").write_text("def net(in_features, outputs=1): ...\n")
    recipe, comments = drafted(
        "nets:net", data="table.csv", task="tensor-regression",
        overrides=["data.columns.label=price"],
    )  # fmt: skip
    assert recipe.data.columns.inputs == {"features": ["age", "height"]}
    assert recipe.model.arguments == {"in_features": 2}
    assert "these aren't numbers and are left out: name" in comments


def test_images_in_a_parquet_file_and_in_folders():
    Image.new("L", (12, 10)).save("one.png")
    content = {"bytes": Path("one.png").read_bytes(), "path": None}
    table = pyarrow.table({"img": [content] * 6, "kind": ["a", "b"] * 3})
    parquet.write_table(table, "train.parquet")
    model_folder(Path("vit"), model_type="vit", architectures=["ViTForImageClassification"],
                 image_size=16, id2label={"0": "a", "1": "b"})  # fmt: skip
    recipe, comments = drafted("vit", data="train.parquet")
    assert recipe.data.columns.image == "img"
    assert recipe.data.columns.label == "kind"
    assert recipe.data.image.size == (16, 16)
    assert "The size that the model takes." in comments
    for split in ("train", "test"):
        for name in ("a", "b"):
            (Path("folder") / split / name).mkdir(parents=True)
            Image.new("L", (12, 10)).save(Path("folder") / split / name / "one.png")
    Path("nets.py").write_text("def net(in_channels=3, num_classes=1000): ...\n")
    recipe, _ = drafted("nets:net", data="folder")
    assert recipe.data.folder == Path("folder")
    assert recipe.model.arguments == {"num_classes": 2, "in_channels": 1}
    assert recipe.data.image is None


def test_arrays_in_files_of_their_own():
    for split, count in (("train", 40), ("test", 10)):
        Path("arrays", split).mkdir(parents=True)
        np.save(Path("arrays", split, "signal.npy"), np.zeros((count, 3, 8), np.float32))
        np.save(Path("arrays", split, "label.npy"), np.arange(count) % 4)
    Path("nets.py").write_text("class Net:\n    def __init__(self, classes=2): ...\n")
    recipe, comments = drafted("nets:Net", data="arrays")
    assert recipe.task == "tensor-classification"
    assert recipe.model.arguments == {"classes": 4}
    assert "4 classes in the first rows: 0, 1, 2, 3." in comments


def test_names_of_every_kind_are_written_so_that_they_are_read():
    model_folder(Path("a model: #1"), architectures=[BERT], id2label={"0": "a", "1": "b", "2": "c"})
    rows = [{"the: text": row["text"], "yes": row["label"]} for row in CLASSES]
    recipe, _ = drafted("a model: #1", data=lines("tr ain.jsonl", *rows))
    assert recipe.name == "a-model-1"
    assert recipe.model.transformers == "a model: #1"
    assert (recipe.data.columns.text, recipe.data.columns.label) == ("the: text", "yes")


def test_keys_that_are_given_stand_in_the_recipe():
    model_folder(Path("model"), architectures=[BERT], id2label={"0": "a", "1": "b", "2": "c"})
    given = ["seed=3", "stages.quantize.method=dynamic", "measure.batch_sizes=[1]"]
    recipe, _ = drafted("model", data=lines("train.jsonl", *CLASSES), overrides=given)
    assert (recipe.seed, recipe.stages[0].stage.method) == (3, "dynamic")
    with pytest.raises(RecipeError, match="unknown stage 'prune'"):
        draft_recipe("model", data="train.jsonl", overrides=["stages.prune.target={macs: 0.5}"])
    with pytest.raises(RecipeError, match="an override must be key=value"):
        draft_recipe("model", data="train.jsonl", overrides=["seed"])


def test_what_no_recipe_could_do_is_refused_and_not_written():
    model_folder(Path("model"), architectures=[BERT])
    one = lines("train.jsonl", *[{"text": f"number {n}", "label": "x"} for n in range(9)])
    with pytest.raises(InputError, match=r"labels of 'train\.jsonl' are all 'x', and text-classi"):
        draft_recipe("model", data=one)
    with pytest.raises(RecipeError, match=r"recipe\.yaml \(not written\):\d+ 'data\.sklearn': it"):
        draft_recipe("model", data="digits")


def test_damaged_files_are_refused_in_a_sentence():
    model_folder(Path("model"), architectures=[BERT])
    Path("train.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"train\.jsonl"):
        draft_recipe("model", data="train.jsonl")
    Path("train.csv").write_text("text,label\na,b,c\n")
    with pytest.raises(InputError, match=r"the columns of 'train\.csv' can't be seen"):
        draft_recipe("model", data="train.csv")
    Path("train.csv").write_text("text,label\n")
    with pytest.raises(InputError, match=r"there are no rows in 'train\.csv'"):
        draft_recipe("model", data="train.csv")
    Path("train.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="can't read split 'train'"):
        draft_recipe("tests.tasks.nets:Table", data="train.npz")
    Path("model/config.json").write_text("[]")
    with pytest.raises(InputError, match="must hold a JSON object"):
        draft_recipe("model", data="train.csv")
