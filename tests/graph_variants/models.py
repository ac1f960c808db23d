"""Tiny random models of several families, exported as the product does it."""

from pathlib import Path

import torch
from torch import nn

from compress.exporting.to_onnx import export_module
from compress.models.resnet import resnet
from compress.tasks.task import task

TEXT = ("uneven", "distilbert", "roberta", "gpt2", "llama")
IMAGES = ("vit", "resnet")
SIZES = {"hidden_size": 32, "num_attention_heads": 4}
WORDS = {"vocab_size": 50, "max_position_embeddings": 24, "num_labels": 3, "pad_token_id": 0}


def texts(rows: int = 2, length: int = 7) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(rows, length, dtype=torch.int64)
    mask[1:, length // 2 :] = 0
    ids = torch.randint(3, 50, (rows, length), generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask}


def images(rows: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"pixel_values": torch.rand(rows, 1, 8, 8, generator=generator)}


def sample(kind: str, rows: int = 2, length: int = 7) -> dict[str, torch.Tensor]:
    return texts(rows, length) if kind in TEXT else images(rows)


def module(kind: str) -> nn.Module:
    import transformers as t

    torch.manual_seed(0)
    sizes = SIZES | {"num_hidden_layers": 2 if kind == "uneven" else 1}
    if kind in ("uneven", "roberta"):
        config = t.BertConfig if kind != "roberta" else t.RobertaConfig
        build = (
            t.BertForSequenceClassification
            if kind != "roberta"
            else t.RobertaForSequenceClassification
        )
        made = build(config(**sizes, **WORDS, intermediate_size=48))
        if kind == "uneven":
            _fewer_heads(made.bert.encoder.layer[0].attention, heads=3)
    elif kind == "distilbert":
        made = t.DistilBertForSequenceClassification(
            t.DistilBertConfig(**WORDS, dim=32, n_layers=1, n_heads=4, hidden_dim=48)
        )
    elif kind == "gpt2":
        made = t.GPT2ForSequenceClassification(t.GPT2Config(**sizes, **WORDS))
    else:
        made = resnet(blocks=[1, 1], width=8, in_channels=1, num_classes=3)
    for parameter in made.parameters():  # equal biases would be stored as one
        nn.init.normal_(parameter, std=0.2)
    return made.eval()


def _fewer_heads(attention: nn.Module, *, heads: int) -> None:
    inner, width = attention.self, attention.self.attention_head_size
    inner.num_attention_heads, inner.all_head_size = heads, heads * width
    for name in ("query", "key", "value"):
        setattr(inner, name, nn.Linear(32, heads * width))
    attention.output.dense = nn.Linear(heads * width, 32)


def float_file(kind: str, folder: Path) -> Path:
    name = "text-classification" if kind in TEXT else "image-classification"
    return export_module(
        module(kind),
        task=task(name),
        example=sample(kind),
        path=folder / f"{kind}.onnx",
        labels=["a", "b", "c"],
    )
