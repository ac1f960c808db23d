"""A bundle tells nothing of the machine that it was made on."""

import os
from pathlib import Path

import pytest
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.exporting.bundle.write import write_bundle
from compress.exporting.to_onnx import export_module
from compress.models.load import load_model
from compress.models.spec import ModelSpec
from compress.tasks.task import task


def test_no_place_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_thesecretofthistest")
    folder = tmp_path / "model"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**small, intermediate_size=8, vocab_size=len(words))
    BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=16).save_pretrained(folder)
    classes = task("text-classification")
    loaded = load_model(ModelSpec(transformers=str(folder)), task=classes, seed=0)
    preprocessor = load_preprocessor(str(folder), task=classes, spec=DataSpec(huggingface="a/b"))
    example = preprocessor(["good", "bad"])
    path = export_module(
        loaded.module,
        task=classes,
        example=example,
        path=tmp_path / "exported.onnx",
        labels=loaded.labels,
    )
    bundle = tmp_path / "bundle"
    write_bundle(
        path, directory=bundle, preprocessor=preprocessor, labels=loaded.labels, task=classes
    )
    package = str(Path(load_model.__code__.co_filename).parent)
    told = [str(tmp_path), str(Path.home()) + "/", os.uname().nodename, "hf_thesecret", package]
    for file in bundle.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert not [text for text in told if text.encode() in content], file
    assert str(tmp_path) not in str(loaded.source.to_dict())
