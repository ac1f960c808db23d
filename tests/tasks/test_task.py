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


def test_every_task_can_be_measured_with_and_without_labels():
    for known in TASKS.values():
        assert known.default_metric() == known.metrics[0]
        assert known.default_metric(labelled=False) in known.metrics
    assert task("text-classification").default_metric(labelled=False) == "agreement"
    assert task("text-generation").default_metric(labelled=False) == "perplexity"


def test_generation_keeps_no_cache():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=8,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    given = {}
    model.register_forward_pre_hook(
        lambda module, args, kwargs: given.update(kwargs), with_kwargs=True
    )
    ids = torch.tensor([[1, 2, 3]])
    scores = task("text-generation").logits(model, {"input_ids": ids, "labels": ids})
    assert scores.shape == (1, 3, 20)
    assert given["use_cache"] is False
    assert "labels" not in given


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
