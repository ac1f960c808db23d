"""A student's head means what its teacher's does."""

import transformers

from compress.distillation.students.untrained import from_config
from compress.models.source import TransformersSource

SIZES = {
    "vocab_size": 40,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def test_what_the_folders_head_was_for_is_left_behind(tmp_path):
    transformers.BertConfig(**SIZES, num_labels=1, problem_type="regression").save_pretrained(
        tmp_path
    )
    teacher = transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES))
    student = from_config(
        str(tmp_path),
        TransformersSource.of(teacher),
        auto_class="AutoModelForSequenceClassification",
        labels=("ham", "spam"),
        seed=0,
    )
    assert student.module.config.problem_type is None
    assert student.module.config.num_labels == 2
