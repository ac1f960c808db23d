"""Small models and data of many kinds, as `compress init` meets them."""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.stages.texts import coloured, save_tokenizer

SIZES = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32}
BERT = {**SIZES, "intermediate_size": 48, "vocab_size": 420, "max_position_embeddings": 24}
TAGS = ("O", "COLOUR")


def bert(folder: Path, kind: str, **config: object) -> Path:
    """A BERT of a class, with its tokenizer."""
    import torch
    import transformers

    torch.manual_seed(0)
    made = getattr(transformers, kind)(transformers.BertConfig(**BERT, **config))
    made.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def llama(folder: Path) -> Path:
    """A decoder, with its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**SIZES, intermediate_size=48, vocab_size=420, max_position_embeddings=64)
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder, generates=True)
    return folder


def vit(folder: Path) -> Path:
    """A ViT for images of 16x16, whose classes are others than the data's."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        **SIZES,
        intermediate_size=48,
        image_size=16,
        patch_size=8,
        id2label={0: "cat", 1: "dog"},
        label2id={"cat": 0, "dog": 1},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    return folder


def table(file: Path, *, text: str = "text", label: str = "label") -> Path:
    """A CSV of coloured things."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["id", text, label])
        for number, sample in enumerate(coloured()["train"]):
            writer.writerow([number, sample["text"], sample["label"]])
    return file


def lines(folder: Path) -> Path:
    """A folder with train.jsonl and test.jsonl of texts."""
    folder.mkdir()
    for split in ("train", "test"):
        rows = [json.dumps({"text": sample["text"]}) for sample in coloured()[split]]
        (folder / f"{split}.jsonl").write_text("\n".join(rows * 6) + "\n")
    return folder


def tagged(file: Path) -> Path:
    """A JSON file of words with a tag for each."""
    colours = {sample["label"] for sample in coloured()["train"]}
    rows = []
    for sample in coloured()["train"]:
        words = sample["text"].split()
        rows.append({"tokens": words, "ner_tags": [TAGS[word in colours] for word in words]})
    file.write_text(json.dumps(rows))
    return file


def pictures(folder: Path) -> Path:
    """A folder of images with a folder for each class: light and dark, and red."""
    random = np.random.default_rng(0)
    for name, colour in {
        "dark": (20, 20, 20),
        "light": (220, 220, 220),
        "red": (200, 9, 9),
    }.items():
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(random.normal(colour, 12, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def prices(file: Path) -> Path:
    """A table of numbers as arrays, and a price for each row."""
    random = np.random.default_rng(1)
    features = random.normal(size=(240, 6)).astype(np.float32)
    np.savez(file, features=features, price=(features[:, 0] * 2).astype(np.float32))
    return file
