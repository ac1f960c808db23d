import json
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForMaskedLM

import compress.models.transformers.hub as hub
from compress.errors import ModelError
from compress.models.load import load_model
from compress.models.resnet import resnet
from compress.models.spec import ModelSpec
from compress.tasks.task import task

TEXT = task("text-classification")
IMAGE = task("image-classification")
RESNET = {"python": "compress.models.resnet:resnet", "arguments": {"width": 4, "blocks": [1]}}


def load(folder, *, task=TEXT, seed=0, **more):
    return load_model(ModelSpec(transformers=str(folder), **more), task=task, seed=seed)


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def test_a_saved_model_comes_back(bert_folder, tiny_bert):
    loaded = load(bert_folder)
    ids = torch.randint(0, 50, (2, 7))
    assert loaded.labels == ("mail", "web", "math")
    assert loaded.notes == ()
    assert loaded.folder == str(bert_folder)
    assert not loaded.module.training
    torch.testing.assert_close(
        loaded.module(input_ids=ids).logits, tiny_bert(input_ids=ids).logits, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "output", "labels"),
    [
        ("text-classification", "logits", 3),
        ("token-classification", "logits", 3),
        ("feature-extraction", "last_hidden_state", 0),
        ("text-generation", "logits", 0),
    ],
)
def test_every_text_task_loads_through_its_auto_class(bert_folder, name, output, labels):
    backwards = {"is_decoder": True} if name == "text-generation" else {}
    loaded = load(bert_folder, task=task(name), arguments=backwards)
    answer = loaded.module(input_ids=torch.ones(1, 4, dtype=torch.long))
    assert getattr(answer, output).shape[:2] == ((1, 3) if name == TEXT.name else (1, 4))
    assert len(loaded.labels) == labels


def test_half_precision_files_run_in_fp32(tiny_bert, tmp_path):
    tiny_bert.half().save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert {p.dtype for p in loaded.module.parameters()} == {torch.float32}
    assert "float16" in loaded.notes[0]
    assert loaded.source.config["dtype"] == "float32"


def test_a_new_head_is_noted_and_seeded(tiny_bert, tmp_path, capfd):
    BertForMaskedLM(tiny_bert.config).save_pretrained(tmp_path)
    capfd.readouterr()
    state = torch.random.get_rng_state()
    first, second, other = (load(tmp_path, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert "classifier.weight" in first.notes[0]
    assert "newly initialised (seed 1)" in first.notes[0]
    assert "cls.predictions" in first.notes[1]
    heads = [loaded.module.classifier.weight for loaded in (first, second, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert capfd.readouterr() == ("", "")


def test_arguments_override_the_config(bert_folder):
    loaded = load(bert_folder, arguments={"num_labels": 5})
    assert loaded.module.classifier.out_features == 5
    assert len(loaded.labels) == 5
    assert any("classifier.weight" in note for note in loaded.notes)
    with pytest.raises(ModelError, match="no 'colour'"):
        load(bert_folder, arguments={"colour": 1})


def test_missing_body_weights_are_an_error(bert_folder):
    change_weights(bert_folder, lambda w: w.pop("bert.encoder.layer.1.output.dense.weight"))
    with pytest.raises(ModelError, match=r"missing: bert.encoder.layer.1.output.dense.weight"):
        load(bert_folder)


def test_unexpected_body_weights_are_an_error(bert_folder):
    def add(weights):
        weights["bert.encoder.layer.2.output.dense.weight"] = torch.zeros(16, 24)

    change_weights(bert_folder, add)
    with pytest.raises(ModelError, match=r"config.json describes: bert.encoder.layer.2"):
        load(bert_folder)


def test_mismatched_weights_are_an_error(bert_folder):
    def widen(weights):
        weights["classifier.weight"] = torch.zeros(4, 16)

    change_weights(bert_folder, widen)
    with pytest.raises(ModelError, match=r"classifier.weight \(4, 16\) for \(3, 16\)"):
        load(bert_folder)


def test_folders_without_or_with_damaged_weights(bert_folder):
    (bert_folder / "model.safetensors").write_bytes(b"not a safetensors file")
    with pytest.raises(ModelError, match="can't be loaded"):
        load(bert_folder)
    (bert_folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        load(bert_folder)


def test_another_tasks_model_is_refused(bert_folder):
    with pytest.raises(ModelError, match="is for text classification, not for image-class"):
        load(bert_folder, task=IMAGE)


def test_code_of_a_model_is_never_run(bert_folder):
    config = json.loads((bert_folder / "config.json").read_text(encoding="utf-8"))
    config["model_type"] = "mine"
    config["auto_map"] = {"AutoConfig": "mine.MyConfig"}
    (bert_folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (bert_folder / "mine.py").write_text("raise SystemExit('run')", encoding="utf-8")
    with pytest.raises(ModelError):
        load(bert_folder)


def test_an_unreachable_hub_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.perf_counter()
    with pytest.raises(ModelError, match=r"can't be reached .* local folder .*\./bert-nowhere"):
        load("someone/bert-nowhere")
    assert time.perf_counter() - start < 5


def test_offline_mode_asks_nobody(monkeypatch):
    def never(*_, **__):
        raise AssertionError

    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    monkeypatch.setattr(hub, "urlopen", never)
    with pytest.raises(ModelError, match="offline mode"):
        load("someone/bert-nowhere")


def test_plain_modules_without_weights_are_random_and_seeded():
    first, second, other = (load_model(ModelSpec(**RESNET), task=IMAGE, seed=s) for s in (3, 3, 4))
    assert "they are as it makes them (seed 3)" in first.notes[0]
    assert torch.equal(first.module.conv.weight, second.module.conv.weight)
    assert not torch.equal(first.module.conv.weight, other.module.conv.weight)
    assert first.labels == ()
    assert first.folder is None


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_plain_modules_with_weights(tmp_path, name, half):
    trained = resnet(width=4, blocks=[1])
    trained = trained.half() if half else trained
    path = tmp_path / name
    save = save_file if name.endswith("s") else torch.save
    save(trained.state_dict(), path)
    loaded = load_model(ModelSpec(**RESNET, weights=path), task=IMAGE, seed=0)
    assert torch.equal(loaded.module.conv.weight, trained.conv.weight.float())
    assert loaded.module.conv.weight.dtype == torch.float32
    assert bool(loaded.notes) == half


def test_weights_that_do_not_fit_are_named(tmp_path):
    weights = resnet(width=4, blocks=[1], num_classes=3).state_dict()
    del weights["conv.weight"]
    weights["extra"] = torch.zeros(1)
    path = tmp_path / "w.safetensors"
    save_file(weights, path)
    with pytest.raises(ModelError) as caught:
        load_model(ModelSpec(**RESNET, weights=path), task=IMAGE, seed=0)
    for part in ("missing in the file: conv.weight", "not in the model: extra", "fc.bias (3,)"):
        assert part in str(caught.value)


def test_pickles_of_modules_are_refused(tmp_path):
    path = tmp_path / "w.pt"
    torch.save(resnet(width=4, blocks=[1]), path)
    with pytest.raises(ModelError, match="only tensors are loaded"):
        load_model(ModelSpec(**RESNET, weights=path), task=IMAGE, seed=0)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ModelError, match="state dict"):
        load_model(ModelSpec(**RESNET, weights=path), task=IMAGE, seed=0)
    with pytest.raises(ModelError, match="no file"):
        load_model(ModelSpec(**RESNET, weights=tmp_path / "none.pt"), task=IMAGE, seed=0)
