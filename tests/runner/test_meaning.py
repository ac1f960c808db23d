"""What a loaded model means is compared with the task, where no file told it before."""

import json

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from compress.errors import DataError, ModelError
from compress.models.load import load_model
from compress.models.spec import ModelSpec
from compress.recipe.load import recipe_from_dict
from compress.runner.inputs import load_inputs
from compress.tasks.task import task
from tests.runner.test_tasks import bert, recipe

ROBERTA = {"model_type": "roberta", "pad_token_id": 1, "max_position_embeddings": 64}


@pytest.mark.parametrize("labels", [{}, {"columns": {"label": None}}])
def test_a_plain_module_of_one_score_chooses_nothing(labels):
    values = recipe(
        "is_red", task="image-classification", model={"python": "tests.runner.nets:one_score"}
    )
    values["data"] = {"sklearn": "digits", **labels}
    with pytest.raises(ModelError, match="gives one score, and image-classification chooses among"):
        load_inputs(recipe_from_dict(values))


@pytest.mark.parametrize(
    ("changes", "length"), [(ROBERTA, 62), ({"max_position_embeddings": 40}, 40)]
)
def test_texts_are_cut_at_the_last_position(changes, length):
    values = recipe(
        "sets_of_colours",
        task="multi-label-text-classification",
        model=bert(3, **changes),
        data={"max_length": None},
    )
    original = load_inputs(recipe_from_dict(values)).original
    assert original.require_preprocessor().max_length == length
    [note] = [note for note in original.notes if "tokens:" in note]
    assert note == f"texts are cut to {length} tokens: its model has no more positions."


def test_more_positions_than_a_loaded_model_has_are_refused(tmp_path):
    from compress.data.spec import Vocabulary
    from compress.data.texts.encode import TextPreprocessor
    from compress.data.vocabulary.train import train_tokenizer

    tokenizer = train_tokenizer(["a b"], Vocabulary(vocab_size=300), generates=False, max_length=99)
    with pytest.raises(DataError, match="at most 62, the longest text that the model has"):
        TextPreprocessor(tokenizer, 63, positions=62)


def folder_of(tmp_path, **changes):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=320,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=40,
        **changes,
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("text-classification", {"num_labels": 1}, "gives one score"),
        ("text-classification", {"problem_type": "regression"}, "gives a number"),
        (
            "text-classification",
            {"problem_type": "multi_label_classification"},
            "each class by its",
        ),
        (
            "multi-label-text-classification",
            {"problem_type": "single_label_classification"},
            "chooses one class",
        ),
        ("token-classification", {"num_labels": 1}, "gives one score"),
        ("text-generation", {}, "reads the whole text"),
        ("image-classification", {}, "is for text classification"),
    ],
)
def test_a_loaded_head_of_another_meaning(name, changes, words, tmp_path):
    folder = folder_of(tmp_path, **changes)
    with pytest.raises(ModelError, match=words):
        load_model(ModelSpec(transformers=str(folder)), task=task(name), seed=0)


def test_a_head_that_the_files_lack_needs_a_training(tmp_path):
    folder_of(tmp_path)
    BertModel(BertConfig.from_pretrained(tmp_path)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["architectures"]  # so that only loading shows it
    (tmp_path / "config.json").write_text(json.dumps(config))
    values = recipe(
        "is_red",
        task="text-classification",
        model={"transformers": str(tmp_path)},
        data={"max_length": 24},
    )
    with pytest.raises(ModelError, match="weights hold no head for text-classification"):
        load_inputs(recipe_from_dict(values))
    values["stages"] = [{"use": "train"}, *values["stages"]]
    assert any(
        "newly initialised" in note for note in load_inputs(recipe_from_dict(values)).original.notes
    )


@pytest.mark.parametrize(
    ("flag", "kind", "vector"),
    [
        ("cls_token", "cls", "its first token's"),
        ("mean_tokens", "mean", "the mean of its tokens'"),
        ("max_tokens", "max", "the largest value of each dimension among its tokens'"),
    ],
)
def test_a_sentence_folder_says_how_a_text_becomes_a_vector(flag, kind, vector, tmp_path):
    folder_of(tmp_path)
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{name}"} for path, name in parts
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{flag}": True}))
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20}))
    values = recipe(
        "is_red",
        task="feature-extraction",
        model={"transformers": str(tmp_path)},
        data={"max_length": None},
    )
    inputs = load_inputs(recipe_from_dict(values))
    assert (inputs.task.pooling, inputs.task.normalize) == (kind, True)
    assert f"a text's vector is {vector}, of length 1" in "\n".join(inputs.original.notes)
    assert inputs.original.require_preprocessor().max_length == 20


def colours(folder, **keys):
    return recipe_from_dict(
        recipe(
            "coloured",
            task="text-classification",
            model={"transformers": str(folder), **keys.pop("model", {})},
            stages=[{"use": "train"}],
            **keys,
        )
        | {"data": {"python": "tests.stages.texts:coloured", "tokenizer": TOKENIZER}}
    )


TOKENIZER = {"train": {"vocab_size": 300}}


def test_a_trained_head_of_other_classes_is_refused_with_the_line_to_write(tmp_path):
    folder_of(tmp_path)
    line = "classes, give it a new head: 'arguments: {num_labels: 4}' in 'model', with 'train'"
    with pytest.raises(DataError, match=f"Got 'red'. To teach the model the data's 4 {line}"):
        load_inputs(colours(tmp_path))


def test_a_new_head_takes_the_classes_of_the_data(tmp_path):
    folder_of(tmp_path)
    found = load_inputs(colours(tmp_path, model={"arguments": {"num_labels": 4}}))
    assert found.original.labels == ("blue", "green", "red", "yellow")
    module = found.original.require_module()
    assert module.config.id2label == {0: "blue", 1: "green", 2: "red", 3: "yellow"}
    assert module.classifier.out_features == 4
    assert any("the data's 4 classes: blue, green, red, yel" in x for x in found.original.notes)
    with pytest.raises(DataError, match=r"Got 'red'\. To teach the model the data's 4 classes"):
        load_inputs(colours(tmp_path, model={"arguments": {"num_labels": 3}}))


def test_an_untrained_config_takes_the_classes_of_the_data_unless_it_names_them():
    keys = {
        "model_type": "bert",
        "vocab_size": 320,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 40,
    }
    values = {
        "version": 1,
        "name": "small",
        "model": {"config": keys},
        "task": "text-classification",
        "data": {"python": "tests.stages.texts:coloured", "tokenizer": TOKENIZER},
        "stages": [{"use": "train"}],
    }
    found = load_inputs(recipe_from_dict(values))
    assert found.original.labels == ("blue", "green", "red", "yellow")
    assert found.original.require_module().classifier.out_features == 4
    values["model"] = {"config": keys | {"num_labels": 3}}
    with pytest.raises(ModelError, match="but there are 4 labels: blue, green"):
        load_inputs(recipe_from_dict(values))
