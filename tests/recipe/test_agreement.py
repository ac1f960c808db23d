"""A recipe check knows, without computing, that model, data and task don't go together."""

import json
import subprocess
import sys

import pytest

from compress.recipe.load import load_recipe
from compress.recipe.plan import describe
from tests.recipe.folders import add_json, model_folder, sentence_folder

TEXT = """\
version: 1
name: a
model: {{transformers: ./model}}
task: {task}
data: {{huggingface: csv, files: {{train: a.csv}}{more}}}
stages:
{stages}"""
EXPORT = "  - use: export\n"
TRAIN = "  - use: train\n  - use: export\n"


@pytest.fixture
def said(problems, good):
    """What is wrong with a recipe for ./model, as one text."""

    def find(task, *, rows="text,label\na,0\nb,1\n", more="", stages=EXPORT, model=None):
        good.with_name("a.csv").write_text(rows)
        text = TEXT.format(task=task, more=more, stages=stages)
        return "\n".join(
            problems(text if model is None else text.replace("{transformers: ./model}", model))
        )

    return find


@pytest.mark.parametrize(
    ("task", "config", "words"),
    [
        (
            "text-classification",
            {"id2label": {"0": "LABEL_0"}},
            "gives one score.*multi-label-text",
        ),
        ("token-classification", {"id2label": {"0": "x"}}, "one score, and token-classification"),
        ("text-classification", {"problem_type": "regression"}, "number .problem_type: regression"),
        (
            "multi-label-text-classification",
            {"problem_type": "regression"},
            "The task for it is text-regression",
        ),
        (
            "text-classification",
            {"problem_type": "multi_label_classification"},
            "each class by itself.*The task for such a head is multi-label-text-classification",
        ),
        (
            "multi-label-text-classification",
            {"problem_type": "single_label_classification"},
            "chooses one class.*The task for such a head is text-classification",
        ),
        (
            "multi-label-text-classification",
            {
                "id2label": {"0": "LABEL_0"},
                "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
            },
            "a reranker.*The task for it is text-regression",
        ),
    ],
)
def test_a_head_of_another_meaning(said, task, config, words, tmp_path):
    architectures = [
        "BertForTokenClassification" if "token" in task else "BertForSequenceClassification"
    ]
    model_folder(tmp_path / "model", architectures=architectures, **config)
    import re

    assert re.search(rf"r.yaml:3 'model.transformers': .*{words}", said(task))
    assert "head" in said(task, more=", columns: {label: null}")


@pytest.mark.parametrize("problem", [None, "multi_label_classification"])
def test_one_output_decides_yes_or_no_by_itself(said, problem, tmp_path):
    model_folder(tmp_path / "model", id2label={"0": "spam"}, problem_type=problem)
    assert said("multi-label-text-classification") == ""


def test_a_recipe_that_knows_better_says_so(said, tmp_path):
    model_folder(tmp_path / "model", problem_type="regression")
    right = "{transformers: ./model, arguments: {problem_type: single_label_classification}}"
    assert said("text-classification", model=right) == ""


def test_a_config_in_the_recipe_is_held_against_the_task_too(said, tmp_path):
    keys = "{config: {model_type: bert, num_labels: 1}}"
    assert "'model.config': its head gives one score" in said("text-classification", model=keys)
    other = "{config: {model_type: vit}}"
    assert "is for image-classification" in said("text-classification", model=other)


@pytest.mark.parametrize(
    ("kind", "name", "purpose"),
    [
        ("detr", "DetrForObjectDetection", "object detection"),
        ("t5", "T5ForConditionalGeneration", "text to text"),
        ("whisper", "WhisperForConditionalGeneration", "speech to text"),
        ("wav2vec2", "Wav2Vec2ForCTC", "speech recognition"),
        ("gpt2", "GPT2LMHeadModel", "text generation"),
        ("bert", "BertForMaskedLM", "masked words"),
        ("bert", "BertForQuestionAnswering", "question answering"),
        ("bert", "BertModel", "features of texts"),
        ("vit", "ViTForImageClassification", "image classification"),
    ],
)
def test_a_model_for_something_else_is_told_in_a_sentence(said, kind, name, purpose, tmp_path):
    model_folder(tmp_path / "model", model_type=kind, architectures=[name])
    found = said("text-classification")
    assert f"{name} is for {purpose}" in found
    assert "The tasks are image-classification, text-classification" in found
    assert len(found) < 600


@pytest.mark.parametrize("task", ["image-classification", "multi-label-image-classification"])
def test_an_image_task_on_a_folder_of_a_text_model(said, task, tmp_path):
    model_folder(tmp_path / "model")
    assert f"BertForSequenceClassification is for text classification, not for {task}" in said(task)


def test_a_new_head_needs_a_training(said, tmp_path):
    model_folder(tmp_path / "model", architectures=["BertForMaskedLM"])
    assert "Begin the stages with 'train'" in said("text-classification")
    assert said("text-classification", stages=TRAIN) == ""
    model_folder(tmp_path / "model")
    five = "{transformers: ./model, arguments: {num_labels: 5}}"
    assert "a new one is random" in said("text-classification", model=five)
    assert said("text-classification", model=five, stages=TRAIN) == ""


def test_a_model_that_reads_ahead_does_not_generate(said, tmp_path):
    model_folder(tmp_path / "model", architectures=["BertForMaskedLM"])
    assert "reads the whole text" in said("text-generation", rows="text\na\n")
    model_folder(tmp_path / "model", architectures=["BertLMHeadModel"], is_decoder=True)
    assert said("text-generation", rows="text\na\n") == ""


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({}, 64),
        ({"model_type": "roberta", "pad_token_id": 1}, 62),
        ({"model_type": "xlm-roberta", "pad_token_id": 1}, 62),
        ({"model_type": "distilbert"}, 64),
        ({"model_type": "mpnet", "pad_token_id": 0}, 62),
        ({"model_type": "gpt2", "max_position_embeddings": None, "n_positions": 64}, 64),
        ({"model_type": "llama"}, 64),
    ],
)
def test_texts_are_no_longer_than_the_positions(said, config, most, tmp_path):
    model_folder(tmp_path / "model", **{"architectures": None, **config})
    found = said("text-classification", more=f", max_length: {most + 1}")
    assert f"'data.max_length' must be at most {most}, the longest text" in found
    assert said("text-classification", more=f", max_length: {most}") == ""


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "deberta-v2", "position_biased_input": False},
        {"model_type": "t5", "n_positions": 64},
        {"model_type": "xlnet"},
    ],
)
def test_relative_positions_have_no_end(said, config, tmp_path):
    model_folder(tmp_path / "model", **{"architectures": None, **config})
    assert said("text-classification", more=", max_length: 500") == ""


def test_images_are_of_the_size_of_the_positions(problems, tmp_path, good):
    folder = model_folder(
        tmp_path / "model",
        model_type="vit",
        architectures=["ViTForImageClassification"],
        image_size=32,
    )
    text = "version: 1\nname: a\nmodel: {transformers: ./model}\ntask: image-classification\n"
    text += "data: {sklearn: digits, image: {size: [16, 16]}}\nstages:\n  - use: export\n"
    [found] = problems(text)
    assert found.startswith("r.yaml:5 'data.image.size' must be [32, 32], the only size")
    assert problems(text.replace("[16, 16]", "[32, 32]")) == []
    add_json(folder, "preprocessor_config.json", {"size": {"height": 8, "width": 8}})
    [found] = problems(text.replace(", image: {size: [16, 16]}", ""))
    assert found.endswith("Got [8, 8].")


@pytest.mark.parametrize(
    ("pooling", "more", "settings", "words"),
    [
        ({"pooling_mode_lasttoken": True}, (), {}, "pooling of './model' .* cls, max. Got last"),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            (),
            {},
            "Got mean and cls",
        ),
        ({"pooling_mode_cls_token": True}, ("Dense", "Normalize"), {}, "Dense, Normalize"),
        ({"pooling_mode_cls_token": True}, (), {"do_lower_case": True}, "do_lower_case"),
    ],
)
def test_a_part_of_sentence_transformers_that_is_not_supported(
    said, pooling, more, settings, words, tmp_path
):
    import re

    sentence_folder(tmp_path / "model", pooling=pooling, more=more, **settings)
    assert re.search(words, said("feature-extraction", rows="text\na\n"))


def test_parts_that_are_supported(said, tmp_path):
    folder = sentence_folder(
        tmp_path / "model",
        pooling={"pooling_mode_cls_token": True},
        more=("Normalize",),
        max_seq_length=32,
    )
    assert said("feature-extraction", rows="text\na\n") == ""
    prompts = {"prompts": {"q": "query: "}, "default_prompt_name": "q"}
    add_json(folder, "config_sentence_transformers.json", prompts)
    assert "puts the prompt 'query: '" in said("feature-extraction", rows="text\na\n")


def test_columns_that_the_file_has_not(said, tmp_path):
    model_folder(tmp_path / "model")
    found = said("text-classification", rows="texts,label\na,0\n")
    assert "'data.files.train': 'a.csv': unknown column 'text'. Known: label, texts" in found
    assert "Did you mean 'texts'?" in found
    found = said("text-classification", more=", columns: {label: klass}")
    assert "'data.columns.label': 'a.csv': unknown column 'klass'" in found


def test_a_batch_of_more_samples_than_there_are(said, good, tmp_path):
    model_folder(tmp_path / "model")
    assert said("text-classification", stages=TRAIN) == ""
    lines = describe(load_recipe(good))
    assert lines[-1].startswith("note: train has 2 samples at most, fewer than a batch of ")
    assert said("text-classification") == ""
    assert not any("samples at most" in line for line in describe(load_recipe(good)))


def test_files_without_rows(said, tmp_path):
    model_folder(tmp_path / "model")
    assert "there are no rows in 'a.csv'" in said("text-classification", rows="text,label\n")


def test_labels_that_the_model_has_not(said, tmp_path):
    model_folder(tmp_path / "model", id2label={"0": "ham", "1": "spam"})
    found = said("text-classification", rows="text,label\na,ham\nb,eggs\n")
    assert "row 1 of split 'train': the label must be one of the model's 2 labels" in found
    assert "a number from 0 to 1" in said("text-classification", rows="text,label\na,0\nb,2\n")
    assert said("text-classification", rows="text,label\na,ham\nb,spam\n") == ""
    assert said("text-classification", rows="text,label\na,0.0\nb,1.0\n") == ""


@pytest.mark.parametrize("form", ["parquet", "arrow", "json"])
def test_files_of_other_forms_tell_as_much(problems, form, tmp_path, good):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    model_folder(tmp_path / "model", id2label={"0": "ham", "1": "spam"})
    rows = [{"text": "a", "label": "ham"}, {"text": "b", "label": "eggs"}]
    table = pyarrow.Table.from_pylist(rows)
    if form == "parquet":
        parquet.write_table(table, "a")
    elif form == "arrow":
        with (
            pyarrow.OSFile("a", "wb") as file,
            pyarrow.ipc.new_stream(file, table.schema) as writer,
        ):
            writer.write_table(table)
    else:
        good.with_name("a").write_text("\n".join(map(json.dumps, rows)))
    text = TEXT.format(task="text-classification", more="", stages=EXPORT)
    text = text.replace("huggingface: csv", f"huggingface: {form}").replace("a.csv", "a")
    [found] = problems(text)
    assert "one of the model's 2 labels: ham, spam. Got 'eggs'" in found


def test_more_classes_than_scores(said):
    keys = "{config: {model_type: bert, num_labels: 2}}"
    found = said("text-classification", model=keys, rows="text,label\na,x\nb,y\nc,z\n")
    assert "the model gives 2 scores" in found


def test_more_layers_than_there_are(said, tmp_path):
    model_folder(tmp_path / "model")
    distill = "  - use: distill\n    student: {layers: 12}\n  - use: export\n"
    found = said("text-classification", stages=distill)
    assert "r.yaml:8 stages[0] (distill): 'student.layers' must be at most the teacher's 6" in found
    depth = "  - use: depth\n    layers: 12\n  - use: export\n"
    larger = "  - use: distill\n    student: {transformers: {num_hidden_layers: 12}}\n"
    assert said("text-classification", stages=larger + depth.replace("12", "8")) == ""
    assert "stages[0] (depth): 'layers' must be at most" in said(
        "text-classification", stages=depth
    )


@pytest.mark.parametrize(
    ("student", "words"),
    [
        ("{transformers: {problem_type: regression}}", "gives a number"),
        ("{transformers: {max_position_embeddings: 16}}", "at least 32"),
        ("{transformers: ./other}", "DetrForObjectDetection is for object detection"),
    ],
)
def test_students_are_held_against_the_task_too(said, student, words, tmp_path):
    model_folder(tmp_path / "model")
    model_folder(tmp_path / "other", model_type="detr", architectures=["DetrForObjectDetection"])
    stages = f"  - use: distill\n    student: {student}\n  - use: export\n"
    found = said("text-classification", stages=stages, more=", max_length: 32")
    assert "stages[0] (distill): 'student.transformers'" in found
    assert words in found


def test_no_task_of_another_kind_is_suggested(problems):
    [found] = problems(replace=("image-classification", "audio-classification"))
    assert "Did you mean" not in found


def test_nothing_heavy_is_imported(tmp_path):
    model_folder(tmp_path / "model")
    (tmp_path / "a.csv").write_text("text,label\na,0\nb,1\n")
    path = tmp_path / "r.yaml"
    path.write_text(TEXT.format(task="text-classification", more="", stages=EXPORT))
    script = (
        "import sys; from pathlib import Path; from compress.recipe.load import load_recipe; "
        "load_recipe(Path('r.yaml')); print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


NAMES = "text,label\na,red\nb,green\nc,blue\n"
LINE = (
    "To teach the model the data's 3 classes, give it a new head: 'arguments: {num_labels: 3}' in "
    "'model', with 'train' as the first stage; the classes' names come from the data."
)


def test_a_trained_head_of_other_classes_is_refused_with_the_line_to_write(said, tmp_path):
    model_folder(tmp_path / "model", id2label={"0": "neg", "1": "pos"})
    for stages in (EXPORT, TRAIN):
        found = said("text-classification", rows=NAMES, stages=stages)
        assert "the label must be one of the model's 2 labels: neg, pos. Got 'red'." in found
        assert found.endswith(LINE)
    numbers = "text,label\na,0\nb,2\n"
    assert said("text-classification", rows=numbers).endswith(LINE)
    right = "{transformers: ./model, arguments: {num_labels: 3}}"
    assert said("text-classification", rows=NAMES, stages=TRAIN, model=right) == ""
    assert said("text-classification", rows=numbers, stages=TRAIN, model=right) == ""


def test_a_trained_head_of_as_many_classes_is_told_their_names(said, tmp_path):
    model_folder(tmp_path / "model")
    found = said("text-classification", rows="text,label\na,neg\nb,pos\n")
    names = '{id2label: {"0": "neg", "1": "pos"}, label2id: {"neg": 0, "pos": 1}}'
    assert f"name these in 'model': 'arguments: {names}'; otherwise begin the stages" in found
    right = f"{{transformers: ./model, arguments: {names}}}"
    rows = "text,label\na,neg\nb,pos\n"
    assert said("text-classification", rows=rows, model=right) == ""


def test_a_new_head_takes_the_classes_of_the_data(said, tmp_path):
    for architectures in (["BertModel"], ["BertForMaskedLM"]):
        model_folder(tmp_path / "model", architectures=architectures)
        assert said("text-classification", rows=NAMES, stages=TRAIN) == ""
        assert "a new one is random" in said("text-classification", rows=NAMES)
    fewer = "{transformers: ./model, arguments: {num_labels: 2}}"
    found = said("text-classification", rows=NAMES, stages=TRAIN, model=fewer)
    assert "the model gives 2 scores, and the labels are blue, green, red" in found
    named = '{transformers: ./model, arguments: {id2label: {"0": x, "1": y}}}'
    found = said("text-classification", rows=NAMES, stages=TRAIN, model=named)
    assert "one of the model's 2 labels: x, y. Got 'red'." in found
