"""Small bundles with a manifest, in the folder of a run."""

import io
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from compress.data.images.transform import ImagePreprocessor, Transform
from compress.data.raw import RawSamples
from compress.data.texts.encode import TextPreprocessor
from compress.exporting.bundle.manifest import entry, manifest_text
from compress.exporting.bundle.samples import write_samples
from compress.exporting.bundle.write import write_bundle
from compress.exporting.examples.tried import tried
from compress.exporting.parity.compare import module_answers
from compress.exporting.to_onnx import export_module
from compress.models.resnet import resnet
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS

DIGITS = tuple("0123456789")


def tokenizing():
    """A preprocessor of texts, as a bundle stores it."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, "[UNK]"))
    return TextPreprocessor(
        PreTrainedTokenizerFast(
            tokenizer_object=backend,
            model_max_length=16,
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
            **{"pad_token": "[PAD]", "unk_token": "[UNK]"},
        )
    )


def digits(count=12):
    """Real images (N, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    images = load_digits(return_X_y=True)[0][:count].reshape(-1, 1, 8, 8) / 16
    return {"pixel_values": torch.tensor(images, dtype=torch.float32)}


def published(
    folder, *, model, batch, task, labels=LABELS, module=None, preprocessor=None, raw=None
):
    """The folder of a run that has published `model`."""
    inside = folder / "stages" / "bundle"
    write_bundle(
        model,
        directory=inside,
        preprocessor=preprocessor or tokenizing(),
        labels=labels,
        task=task,
    )
    reference = None if module is None else module_answers(module, task=task)
    kept = None
    if raw is not None:
        batch = {name: values[: len(raw.values)] for name, values in batch.items()}
        kept, _ = tried(
            inside / "model.onnx",
            raw,
            batch,
            preprocessor=preprocessor,
            task=task,
        )
    write_samples(inside / "model.onnx", [batch], inside, reference=reference, raw=kept)
    shutil.copytree(inside, folder, dirs_exist_ok=True)
    (folder / "recipe.lock.yaml").write_text("name: small")
    names = [path.relative_to(inside) for path in inside.rglob("*") if path.is_file()]
    files = {str(name): entry(folder / name) for name in [*names, Path("recipe.lock.yaml")]}
    manifest = {"name": "small", "task": task.name, "files": files}
    (folder / "manifest.json").write_text(manifest_text(manifest))
    return folder


def digit_files(count=8):
    """Real images as PNG files, whose `digits` are what is made of them."""
    from sklearn.datasets import load_digits

    files = []
    for image in load_digits().images[:count]:
        packed = io.BytesIO()
        Image.fromarray(image.astype(np.uint8)).save(packed, "PNG")
        files.append(packed.getvalue())
    return RawSamples("image", tuple(files))


def digits_bundle(folder):
    """A CNN's bundle, of ten classes."""
    torch.manual_seed(0)
    module = resnet(blocks=(1, 1), width=4, in_channels=1, num_classes=10).train()
    with torch.no_grad():
        module(digits(64)["pixel_values"])
    module.eval().fc.weight.data *= 5
    task = TASKS["image-classification"]
    model = folder / "exported.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    export_module(module, task=task, example=digits(2), path=model, labels=DIGITS)
    published(
        folder,
        model=model,
        batch=digits(),
        task=task,
        labels=DIGITS,
        module=module,
        preprocessor=ImagePreprocessor(Transform(size=(8, 8), channels=1, rescale=1 / 16)),
        raw=digit_files(),
    )
    model.unlink()
    return folder
