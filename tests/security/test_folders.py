"""Malicious folders of models, tokenizers, processors and data sets: nothing in them runs."""

import builtins
import io
import json
import os
import pickle
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from compress.core.foreign.remote_code import NEVER
from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.distillation.students.untrained import from_config
from compress.errors import DataError, InputError, ModelError
from compress.models.load import load_model, read_weights
from compress.models.spec import ModelSpec
from compress.tasks.task import task

CODE = "from pathlib import Path\nPath({ran!r}).touch()\nclass Evil:\n    pass\n"
TEXTS = task("text-classification")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that foreign code would leave; whoever asks on the terminal is answered yes."""

    def asked(*given: object) -> str:
        pytest.fail(f"asked on the terminal: {given}")

    monkeypatch.setattr(builtins, "input", asked)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ran"


def folder(ran: Path, name: str, files: dict[str, object]) -> str:
    path = ran.parent / name
    path.mkdir()
    (path / "evil.py").write_text(CODE.format(ran=str(ran)), encoding="utf-8")
    for file, values in files.items():
        text = values if isinstance(values, str) else json.dumps(values)
        (path / file).write_text(text, encoding="utf-8")
    return str(path)


CONFIG = {
    "model_type": "evil",
    "auto_map": {
        "AutoConfig": "evil.Evil",
        "AutoModelForSequenceClassification": "evil.Evil",
        "AutoTokenizer": ["evil.Evil", "evil.Evil"],
        "AutoImageProcessor": "evil.Evil",
    },
}
TOKENIZER = {"tokenizer_class": "Evil", "auto_map": CONFIG["auto_map"]}
PROCESSOR = {"image_processor_type": "Evil", "auto_map": CONFIG["auto_map"]}


def test_a_model(ran: Path) -> None:
    name = folder(ran, "model", {"config.json": CONFIG, "model.safetensors": ""})
    with pytest.raises(ModelError, match=NEVER):
        load_model(ModelSpec(transformers=name), task=TEXTS, seed=0)
    assert not ran.exists()


def test_a_model_whose_name_is_known(ran: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    name = folder(ran, "model", {})
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**small, intermediate_size=8, vocab_size=9, max_position_embeddings=8)
    BertForSequenceClassification(config).save_pretrained(name)
    path = Path(name) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": CONFIG["auto_map"]}))
    loaded = load_model(ModelSpec(transformers=name), task=TEXTS, seed=0)
    assert type(loaded.module) is BertForSequenceClassification
    assert not ran.exists()


def test_a_model_whose_attention_is_a_repository(ran: Path) -> None:
    config = {"model_type": "bert", "attn_implementation": "someone/kernels"}
    name = folder(ran, "model", {"config.json": config, "model.safetensors": ""})
    with pytest.raises(ModelError, match=NEVER):
        load_model(ModelSpec(transformers=name), task=TEXTS, seed=0)


@pytest.mark.parametrize("key", ["trust_remote_code", "cache_dir", "_configuration_file", "token"])
def test_arguments_are_keys_of_the_config(ran: Path, key: str) -> None:
    name = folder(ran, "model", {"config.json": CONFIG, "model.safetensors": ""})
    spec = ModelSpec(transformers=name, arguments={key: "x"})
    with pytest.raises(ModelError, match=f"Got '{key}'"):
        load_model(spec, task=TEXTS, seed=0)
    assert not ran.exists()


def test_a_tokenizer(ran: Path) -> None:
    name = folder(ran, "tokenizer", {"tokenizer_config.json": TOKENIZER, "vocab.txt": "[PAD]\na"})
    with pytest.raises(DataError, match=NEVER):
        load_preprocessor(name, task=TEXTS, spec=DataSpec(huggingface="a/b"))
    assert not ran.exists()


def test_an_image_processor(ran: Path) -> None:
    name = folder(ran, "processor", {"preprocessor_config.json": PROCESSOR})
    with pytest.raises(DataError, match=NEVER):
        load_preprocessor(name, task=task("image-classification"), spec=DataSpec(huggingface="a/b"))
    assert not ran.exists()


def test_the_config_of_a_student(ran: Path) -> None:
    name = folder(ran, "student", {"config.json": CONFIG})
    with pytest.raises(ModelError, match=NEVER):
        from_config(name, None, auto_class=TEXTS.auto_class, labels=("a", "b"), seed=0)
    assert not ran.exists()


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
@pytest.mark.parametrize("shard", ["../outside.bin", "/etc/hostname", "a/../../b", "..\\b", 3])
def test_an_index_of_weights_stays_inside(ran: Path, index: str, shard: object) -> None:
    files = {"config.json": {"model_type": "bert"}, index: {"weight_map": {"a": shard}}}
    name = folder(ran, "model", {**files, "model.safetensors": ""})
    with pytest.raises(ModelError, match=r"leads out of|absolute path|no file name"):
        load_model(ModelSpec(transformers=name), task=TEXTS, seed=0)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.path}",)


def test_pickles(ran: Path) -> None:
    path = ran.parent / "weights.bin"
    path.write_bytes(pickle.dumps({"a": Bomb(ran)}))
    with pytest.raises(ModelError):
        read_weights(path)
    torch.save({"a": Bomb(ran)}, path)
    with pytest.raises(ModelError, match="holds more than tensors"):
        read_weights(path)
    name = folder(ran, "model", {"config.json": {"model_type": "bert"}})
    torch.save({"a": Bomb(ran)}, Path(name) / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(ModelSpec(transformers=name), task=TEXTS, seed=0)
    assert not ran.exists()


def test_sparse_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.eye(3).to_sparse()}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"dense tensors\. Sparse: weight"):
        read_weights(tmp_path / "weights.pt")


def read(name: str) -> object:
    return load_data(DataSpec(huggingface=name), task=TEXTS, labels=(), seed=0)


def test_a_script_of_a_data_set(ran: Path) -> None:
    name = folder(ran, "scripted", {})
    (Path(name) / "evil.py").rename(Path(name) / "scripted.py")
    with pytest.raises(DataError, match=NEVER):
        read(name)
    assert not ran.exists()


CARD = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {}\n---\n"


@pytest.mark.parametrize(
    "path", ["../outside.csv", '["a.csv", "/etc/passwd"]', "https://host/a.csv", "zip://a::../b"]
)
def test_the_card_of_a_data_set_stays_inside(ran: Path, path: str) -> None:
    (ran.parent / "outside.csv").write_text("text,label\nsecret,0\n")
    name = folder(ran, "data", {"README.md": CARD.format(path), "a.csv": "text,label\nx,0\n"})
    with pytest.raises(DataError, match=r"leads out of|absolute path|must lie in it"):
        read(name)


@pytest.mark.parametrize("kind", ["state.json", "dataset_dict.json"])
def test_a_saved_data_set_stays_inside(ran: Path, kind: str) -> None:
    values = {"_data_files": [{"filename": "../outside.arrow"}], "splits": ["../outside"]}
    name = folder(ran, "data", {kind: values})
    with pytest.raises(DataError, match="leads out of"):
        read(name)


def test_an_archive_stays_inside(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", ran.parent / "cache")
    monkeypatch.setattr("datasets.config.EXTRACTED_DATASETS_PATH", ran.parent / "cache" / "x")
    content = b"text,label\nx,0\ny,1\n" * 9
    path = ran.parent / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("ok.csv", f"{'../' * 12}{str(ran).lstrip('/')}.csv", f"{ran}.csv"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    spec = DataSpec(huggingface="csv", files={"train": path})
    load_data(spec, task=TEXTS, labels=(), seed=0)
    assert not ran.with_suffix(".csv").exists()


def test_all_of_these_end_with_2() -> None:
    assert {error.exit_code for error in (InputError, ModelError, DataError)} == {2}
