"""Tiny models of every task, and their inputs."""

import torch

from compress.exporting.to_onnx import export_module
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS, images, texts

SIZES = {
    "vocab_size": 320, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4,
    "intermediate_size": 24, "max_position_embeddings": 40, "initializer_range": 0.5,
}  # fmt: skip
END = {"bos_token_id": 0, "eos_token_id": 0}


GENERATES = ("llama", "gpt2", "qwen2")


def layers_of(name):
    """Llama alone has several: each more takes the exporter seconds."""
    return 2 if name == "llama" else 1


def model_for(name):
    """Weights are large enough that every token has its say in the answers, and no two tensors are
    equal: these would be stored once."""
    import transformers as hf

    torch.manual_seed(0)
    made = {
        "llama": lambda: hf.LlamaForCausalLM(
            hf.LlamaConfig(
                **SIZES | END | {"num_hidden_layers": layers_of("llama")},
                num_key_value_heads=2,
                tie_word_embeddings=True,
            )
        ),
        "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**SIZES, **END, num_key_value_heads=2)),
        "gpt2": lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(
                vocab_size=320,
                n_embd=16,
                n_layer=1,
                n_head=4,
                n_positions=40,
                initializer_range=0.5,
                **END,
            )
        ),
        "tokens": lambda: hf.BertForTokenClassification(hf.BertConfig(**SIZES, num_labels=3)),
        "encoder": lambda: hf.BertModel(hf.BertConfig(**SIZES)),
        "sentences": lambda: hf.BertModel(hf.BertConfig(**SIZES)),
        "sets": lambda: hf.BertForSequenceClassification(hf.BertConfig(**SIZES, num_labels=4)),
        "bert": lambda: hf.BertForSequenceClassification(hf.BertConfig(**SIZES, num_labels=3)),
        "vit": lambda: hf.ViTForImageClassification(
            hf.ViTConfig(
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=24,
                image_size=8,
                patch_size=4,
                num_channels=1,
                num_labels=3,
                initializer_range=0.5,
            )
        ),
    }
    module = made[name]().eval()
    module.config._name_or_path = "/somewhere/private"
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


TASK_OF = {
    "llama": "text-generation",
    "gpt2": "text-generation",
    "tokens": "token-classification",
    "encoder": "feature-extraction",
    "sentences": "sentence-similarity",
    "sets": "multi-label-text-classification",
}


def task_of(name):
    more = {"bert": "text-classification", "vit": "image-classification"}
    return TASKS["text-generation" if name in GENERATES else (TASK_OF | more)[name]]


def inputs(name, *shape, padding=0):
    if name == "vit":
        return images(*shape)
    batch = texts(*shape, padding=padding)
    if name in GENERATES:
        del batch["token_type_ids"]
    return batch


def export(name, path):
    labels = LABELS if name in ("bert", "tokens", "vit") else ()
    example = inputs(name) if name == "vit" else inputs(name, padding=4)
    task = task_of(name)
    return export_module(model_for(name), task=task, example=example, path=path, labels=labels)
