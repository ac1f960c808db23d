import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from compress.errors import InputError
from compress.tasks.task import TASKS, task


class ByOrder(nn.Module):
    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=input_ids.float() * attention_mask)


def test_only_classification_is_measured():
    measured = {name: known.metrics for name, known in TASKS.items() if known.metrics}
    assert measured == {
        "image-classification": ("accuracy", "f1_macro"),
        "text-classification": ("accuracy", "f1_macro"),
    }


def test_every_auto_class_exists():
    import transformers

    assert all(hasattr(transformers, known.auto_class) for known in TASKS.values())


def test_unknown_task_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'text-classification'"):
        task("text-clasification")


def test_a_plain_module_gets_inputs_in_order_without_labels():
    inputs = {
        "input_ids": torch.tensor([[2, 3]]),
        "attention_mask": torch.tensor([[1, 0]]),
        "labels": torch.tensor([0]),
    }
    scores = task("text-classification").logits(ByOrder(), inputs)
    assert scores.tolist() == [[2.0, 0.0]]
    pixels = torch.ones(1, 4)
    assert torch.equal(
        task("image-classification").logits(nn.Identity(), {"pixel_values": pixels}), pixels
    )


def test_a_transformers_model_gets_inputs_by_name():
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, num_labels=3,
    )  # fmt: skip
    ids = torch.tensor([[1, 2, 3]])
    # token_type_ids come second in forward's own signature: order would not do.
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }
    model = BertForSequenceClassification(config).eval()
    scores = task("text-classification").logits(model, inputs)
    assert torch.allclose(scores, model(**inputs).logits)
    hidden = task("feature-extraction").logits(BertModel(config).eval(), inputs)
    assert hidden.shape == (1, 3, 8)


def test_an_answer_without_logits_is_refused():
    class Wrong(nn.Module):
        def forward(self, pixel_values):
            return {"scores": pixel_values}

    with pytest.raises(InputError, match="must return a tensor or an object with 'logits'"):
        task("image-classification").logits(Wrong(), {"pixel_values": torch.ones(1)})


def test_tasks_and_data_spec_import_nothing_heavy():
    code = (
        "import sys, compress.tasks.task, compress.data.spec as s\n"
        "s.DataSpec(sklearn='digits').check()\n"
        "heavy = {'torch', 'transformers', 'datasets', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
