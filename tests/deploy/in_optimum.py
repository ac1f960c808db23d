"""Answers with Optimum; runs in the environment of requirements-optimum.txt.

python in_optimum.py ASKED.json ANSWERED.json
"""

import json
import sys
from pathlib import Path

from optimum.onnxruntime import (
    ORTModelForCausalLM,
    ORTModelForImageClassification,
    ORTModelForSequenceClassification,
)
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer


def texts(folder, file, inputs):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = ORTModelForSequenceClassification.from_pretrained(folder, **_named(file))
    encoded = (tokenizer(text, return_tensors="pt", truncation=True) for text in inputs)
    return _probabilities(model, encoded)


def images(folder, file, inputs):
    processor = AutoImageProcessor.from_pretrained(folder, use_fast=False)
    model = ORTModelForImageClassification.from_pretrained(folder, **_named(file))
    pictures = (Image.open(path).convert("RGB") for path in inputs)
    return _probabilities(model, (processor(one, return_tensors="pt") for one in pictures))


def generation(folder, file, inputs):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = ORTModelForCausalLM.from_pretrained(folder, **_named(file), use_cache=True)
    found = []
    for text in inputs:
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        ids.pop("token_type_ids", None)
        made = model.generate(**ids, max_new_tokens=12, do_sample=False)
        found.append(tokenizer.decode(made[0], skip_special_tokens=True))
    return found


def _named(file):
    """The arguments by which a file of a bundle is found."""
    path = Path(file)
    return {"file_name": path.name, "subfolder": str(path.parent).removeprefix(".")}


def _probabilities(model, encoded):
    names = model.config.id2label
    found = []
    for inputs in encoded:
        row = model(**inputs).logits.softmax(-1)[0].tolist()
        found.append({names[index]: value for index, value in enumerate(row)})
    return found


asked, answered = map(Path, sys.argv[1:])
given = json.loads(asked.read_text(encoding="utf-8"))
work = {"texts": texts, "images": images, "generation": generation}[given["kind"]]
answered.write_text(
    json.dumps(work(given["folder"], given["file"], given["inputs"])), encoding="utf-8"
)
