"""Model folders that are damaged, or ask for what can't be built: exit code 2, named."""

import json
import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.cli import main
from compress.errors import InputError, ModelError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.folder.header import stored_shapes
from compress.models.load import load_model, read_weights
from compress.models.resnet import resnet
from compress.models.source import PythonSource
from compress.models.spec import ModelSpec
from compress.tasks.task import task
from tests.models.bert_folder import save_bert

torch.set_num_threads(1)
TEXT = task("text-classification")
RECIPE = """\
version: 1
name: wrong
model: {transformers: model}
task: text-classification
data:
  huggingface: csv
  files: {train: train.csv}
  max_length: 16
stages:
  - use: quantize
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe, its model's folder, and data."""
    import datasets

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("compress.cli.app.silence_libraries", lambda: None)
    (tmp_path / "model").mkdir()
    for file in model.iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    rows = "good,yes\nbad,no\n" * 20
    (tmp_path / "train.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    return tmp_path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """The one line with which the command refuses, having written nothing."""

    def run(*arguments: str) -> str:
        start = time.perf_counter()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments or ("recipe.yaml",)))
        said = capsys.readouterr().err
        assert ended.value.code == 2, said
        assert "--debug" not in said
        assert not Path("exports").exists()
        assert max(len(line) for line in said.splitlines()) <= 2000
        assert time.perf_counter() - start < 60
        return said

    return run


def change(name: str, **values: object) -> None:
    path = Path("model") / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values), encoding="utf-8")


DEEP = "[" * 100_000
JSON = {
    "empty": b"",
    "a list": b"[]",
    "a number": b"7",
    "deep": DEEP.encode(),
    "deep mappings": b'{"a":' * 100_000,
    "binary": bytes(range(256)),
    "UTF-16": "{}".encode("utf-16"),
    "cut short": b'{"model_type": "be',
}


@pytest.mark.parametrize("content", JSON.values(), ids=JSON)
def test_a_config_that_is_damaged_is_told_by_the_check(content: bytes, refused) -> None:
    Path("model/config.json").write_bytes(content)
    line = refused("check", "recipe.yaml")
    assert line.startswith("error: recipe.yaml:3 ")
    assert "config.json" in line


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_hidden_layers": 10**9}, "'num_hidden_layers' must be at most 2,000"),
        ({"hidden_size": 10**9}, "'hidden_size' must be at most"),
        ({"num_labels": 10**8}, "'num_labels' must be at most 1,000,000"),
        ({"depths": [2, 10**7]}, "'depths' must be at most 2,000"),
        ({"vocab_size": 10**400}, "'vocab_size' must be at most"),
        ({"quantization_config": {"quant_method": "gptq"}}, "its weights are quantized (gptq"),
        ({"quantization_config": "x" * 5000}, "its weights are quantized"),
        ({"more": json.loads("[" * 300 + "]" * 300)}, "nest at most 50 deep"),
    ],
)
def test_a_config_that_asks_for_too_much(values: dict[str, object], sentence: str, refused) -> None:
    change("config.json", **values)
    line = refused("check", "recipe.yaml")
    assert line.startswith("error: recipe.yaml:3 ")
    assert "config.json" in line
    assert sentence in line


@pytest.mark.parametrize(
    "values",
    [
        {"id2label": "x"},
        {"id2label": {"a": "b"}},
        {"id2label": [1]},
        {"dtype": "os.system"},
        {"dtype": 3},
        {"hidden_size": "big"},
        {"hidden_size": [8]},
        {"num_attention_heads": 0},
        {"hidden_act": "no such"},
        {"model_type": "no-such-model"},
        {"model_type": 3},
        {"rope_parameters": "x"},
        {"hidden_size": 900_000, "vocab_size": 900_000},
    ],
)
def test_values_of_the_wrong_type_name_the_model(values: dict[str, object]) -> None:
    change("config.json", **values)
    spec = ModelSpec(transformers="model")
    with pytest.raises(ModelError, match="model") as refusal:
        load_model(spec, task=TEXT, seed=0)
    assert len(str(refusal.value)) < 2000


def test_a_model_larger_than_the_memory_is_refused_before_it_is_filled() -> None:
    change("config.json", vocab_size=900_000, hidden_size=900_000, num_attention_heads=1)
    with pytest.raises(ModelError, match=r"parameters: .* GiB in float32, and this machine's"):
        load_model(ModelSpec(transformers="model"), task=TEXT, seed=0)
    config = {"model_type": "bert", "vocab_size": 900_000, "hidden_size": 900_000}
    with pytest.raises(ModelError, match=r"parameters: .* GiB in float32, and this machine's"):
        load_model(ModelSpec(config=config), task=TEXT, seed=0)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model={config: {model_type: bert, num_hidden_layers: 1000000000}}", "at most 2,000"),
        ("model={config: {model_type: bert, num_labels: 1000000000}}", "at most 1,000,000"),
        ("model={transformers: model, arguments: {num_labels: 1000000000}}", "at most 1,000,000"),
        (
            "stages=[{use: distill, student: {transformers: {num_hidden_layers: 1000000000}}}]",
            "at most 2,000",
        ),
        ("stages=[{use: distill, student: {transformers: ./other}}]", "other/config.json"),
        ("model.transformers=" + "m" * 5000, "is too long"),
        ("model.transformers=~nouser/model", "there is no folder '~nouser/model'"),
        ('model.transformers="mo\\0del"', "NUL"),
        ("model.transformers=recipe.yaml", "there is no folder 'recipe.yaml': it is no folder"),
        ("data.tokenizer=" + "t" * 5000, "is too long"),
        ("data.tokenizer=~nouser/t", "there is no folder '~nouser/t'"),
        ("data.files={train: " + "f" * 5000 + "}", "is too long"),
        ("data.files={train: model}", "is a directory"),
        ("data.files={train: pipe}", "a pipe or a device"),
        ("data.files={train: /dev/zero}", "a pipe or a device"),
    ],
)  # fmt: skip
def test_the_check_tells_what_a_recipe_asks_for_in_vain(
    override: str, sentence: str, refused
) -> None:
    os.mkfifo("pipe")
    Path("other").mkdir()
    line = refused("check", "recipe.yaml", "--set", override)
    assert line.startswith("error: --set ")
    assert sentence in line


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 8 + b"{}", b"[]" * 500])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_that_are_none(name: str, content: bytes) -> None:
    Path("model/model.safetensors").unlink()
    Path("model", name).write_bytes(content)
    spec = ModelSpec(transformers="model")
    assert stored_shapes(spec, task=TEXT.name) is None
    with pytest.raises(ModelError, match="model 'model' can't be loaded"):
        load_model(spec, task=TEXT, seed=0)


def test_weights_that_are_cut_short(refused) -> None:
    path = Path("model/model.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    assert "model 'model' can't be loaded" in refused()


@pytest.mark.parametrize("content", [b"", b"x", b"\x80\x04.", b"PK\3\4" + b"\0" * 50, b"\0" * 9])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_files_of_weights_that_are_none(name: str, content: bytes) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        read_weights(Path(name))


@pytest.mark.parametrize(
    "name",
    ["tokenizer_config.json", "tokenizer.json", "special_tokens_map.json"],
)
@pytest.mark.parametrize("content", [b"[]", b"", bytes(range(256)), b'{"a":' * 50_000])
def test_a_tokenizer_that_is_damaged(name: str, content: bytes) -> None:
    from compress.data.preprocess import load_preprocessor
    from compress.data.spec import DataSpec

    Path("model", name).write_bytes(content)
    spec = DataSpec(huggingface="csv", files={"train": "train.csv"})
    with pytest.raises(InputError, match="the tokenizer of 'model' can't be loaded") as refusal:
        load_preprocessor("model", task=TEXT, spec=spec)
    assert len(str(refusal.value)) < 1000


def test_a_tokenizer_config_that_is_a_list_ends_the_run_with_2(refused) -> None:
    Path("model/tokenizer_config.json").write_text("[]")
    assert "the tokenizer of 'model' can't be loaded" in refused()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1.5]", b'["a"]', b"[-1]", DEEP.encode(), b"\xff"]
)
def test_original_ids_that_are_damaged(content: bytes) -> None:
    from compress.data.preprocess import load_preprocessor
    from compress.data.spec import DataSpec
    from compress.data.texts.encode import ORIGINAL_IDS

    Path("model", ORIGINAL_IDS).write_bytes(content)
    spec = DataSpec(huggingface="csv", files={"train": "train.csv"})
    with pytest.raises(InputError, match=f"can't read model/{ORIGINAL_IDS}"):
        load_preprocessor("model", task=TEXT, spec=spec)


@pytest.mark.parametrize(
    "content", [b"[]", b"", bytes(range(256)), b'{"a":' * 50_000, b'{"size": "x"}']
)
def test_an_image_processor_that_is_damaged(content: bytes) -> None:
    from compress.data.preprocess import load_preprocessor
    from compress.data.spec import DataSpec

    Path("vit").mkdir()
    Path("vit/config.json").write_text('{"model_type": "vit"}')
    Path("vit/preprocessor_config.json").write_bytes(content)
    with pytest.raises(InputError, match="image processor of 'vit'"):
        load_preprocessor("vit", task=task("image-classification"), spec=DataSpec(sklearn="digits"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named_at_loading(value: float, refused) -> None:
    path = Path("model/model.safetensors")
    weights = load_file(path)
    weights["classifier.weight"][0, :3] = value
    save_file(weights, path, metadata={"format": "pt"})
    line = refused()
    assert "'model' has weights that are NaN or infinite: classifier.weight (3 of 16" in line


def test_weights_of_a_module_and_statistics_are_looked_at() -> None:
    module = resnet(width=4, blocks=[1])
    state = module.state_dict()
    name = next(name for name in state if name.endswith("running_var"))
    state[name][0] = float("inf")
    save_file(state, "w.safetensors")
    spec = ModelSpec(
        python="compress.models.resnet:resnet",
        arguments={"width": 4, "blocks": [1]},
        weights="w.safetensors",
    )
    with pytest.raises(ModelError, match=rf"w\.safetensors.* NaN or infinite: {name} \(1 of 4 "):
        load_model(spec, task=task("image-classification"), seed=0)


def test_checkpoints_with_nan_are_refused(tmp_path: Path) -> None:
    source = PythonSource("compress.models.resnet:resnet", {"width": 4, "blocks": [1]})
    module = source.build()
    with torch.no_grad():
        next(module.parameters()).fill_(float("nan"))
    save_checkpoint(module, source, tmp_path / "stored")
    with pytest.raises(ModelError, match=r"the checkpoint .*stored' has weights that are NaN"):
        load_checkpoint(tmp_path / "stored")
