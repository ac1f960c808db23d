"""Tiny models to prune."""

import torch
import transformers
from torch import nn

from compress.models.resnet import resnet
from compress.tasks.task import task

IMAGE = task("image-classification")
TEXT = task("text-classification")
TEXT_FAMILIES = {
    "bert": "Bert",
    "camembert": "Camembert",
    "electra": "Electra",
    "mpnet": "MPNet",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
}
IMAGE_FAMILIES = {"vit": "ViT", "deit": "DeiT"}


def shake_batch_norms(module):
    """Statistics as after a training, so that wrong ones would show."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.uniform_(-0.5, 0.5)
                part.running_var.uniform_(0.5, 2.0)
                part.weight.uniform_(0.5, 1.5)
                part.bias.uniform_(-0.5, 0.5)
    return module.eval()


def text_model(name):
    prefix = TEXT_FAMILIES[name]
    config = getattr(transformers, f"{prefix}Config")(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=32,
        num_labels=3,
    )
    return getattr(transformers, f"{prefix}ForSequenceClassification")(config)


def image_model(name):
    prefix = IMAGE_FAMILIES[name]
    config = getattr(transformers, f"{prefix}Config")(
        image_size=16,
        patch_size=8,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        num_labels=3,
    )
    return getattr(transformers, f"{prefix}ForImageClassification")(config)


def distilbert():
    config = transformers.DistilBertConfig(
        vocab_size=60, dim=32, hidden_dim=48, n_layers=3, n_heads=4, num_labels=3
    )
    return transformers.DistilBertForSequenceClassification(config)


def make(name):
    """(module in eval mode, example inputs, task) of a name."""
    torch.manual_seed(0)
    text = {
        "input_ids": torch.randint(5, 60, (2, 12)),
        "attention_mask": (torch.arange(12)[None] < torch.tensor([[12], [7]])).long(),
    }
    if name in TEXT_FAMILIES:
        return text_model(name).eval(), text, TEXT
    if name == "distilbert":
        return distilbert().eval(), text, TEXT
    if name in IMAGE_FAMILIES:
        return image_model(name).eval(), {"pixel_values": torch.rand(2, 3, 16, 16)}, IMAGE
    if name == "resnet":
        module = resnet(blocks=(2, 1), width=12, num_classes=3)
        return shake_batch_norms(module), {"pixel_values": torch.rand(2, 1, 12, 12)}, IMAGE
    raise KeyError(name)
