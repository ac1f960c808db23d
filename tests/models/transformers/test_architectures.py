"""What models are for is read from transformers' own tables, and is what it would say itself."""

import pytest
import transformers
from transformers.models.auto import modeling_auto

from compress.models.transformers.architectures import head_missing, kind_problem, tables, tasks_of
from compress.models.transformers.unexportable import unexportable
from compress.tasks.registry import task_names
from compress.tasks.task import TASKS


@pytest.mark.parametrize(
    "name",
    [
        "MODEL_MAPPING_NAMES",
        "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
        "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
        "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
        "MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES",
        "MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES",
    ],
)
def test_tables_are_those_of_transformers(name):
    theirs = {
        kind: names if isinstance(names, tuple) else (names,)
        for kind, names in getattr(modeling_auto, name).items()
    }
    assert tables()[name] == theirs


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_architecture_that_an_auto_class_loads_and_torch_exports_is_let_in(task):
    if task.target in ("none", "next-token"):
        return
    known = getattr(transformers, task.auto_class)._model_mapping._model_mapping
    refused = [kind for kind in known if kind_problem({"model_type": kind}, task) is not None]
    assert refused == [kind for kind in known if unexportable(kind)]


def test_encoders_alone_give_features():
    assert "feature-extraction" in tasks_of("t5")
    assert "feature-extraction" not in tasks_of("vit")
    assert "text-generation" not in tasks_of("whisper")


@pytest.mark.parametrize(
    ("kind", "purpose"),
    [
        ("detr", "object detection"),
        ("whisper", "speech to text"),
        ("wav2vec2", "speech recognition"),
        ("t5", "text-classification, multi-label-text-classification, token-classification"),
    ],
)
def test_one_sentence_says_what_a_model_is_for_and_which_tasks_there_are(kind, purpose):
    said = kind_problem({"model_type": kind}, TASKS["text-generation"])
    start = f"a model of type {kind!r} is for {purpose}"
    assert said is not None
    assert said.startswith(start)
    assert f"not for text-generation. The tasks are {', '.join(task_names())};" in said
    assert len(said) < 800


def test_what_is_not_known_is_not_judged():
    task = TASKS["text-classification"]
    assert kind_problem({}, task) is None
    assert kind_problem({"model_type": "of-tomorrow"}, task) is None
    assert kind_problem({"model_type": ["bert"]}, task) is None
    assert head_missing({"architectures": ["OfTomorrow"]}, task) is None
    assert head_missing({"architectures": "BertModel"}, task) is None


def test_embeddings_are_the_head_where_they_are_tied():
    task = TASKS["text-generation"]
    body = {"model_type": "gpt2", "architectures": ["GPT2Model"]}
    assert head_missing(body, task) is None
    assert head_missing(body | {"tie_word_embeddings": False}, task) is not None
