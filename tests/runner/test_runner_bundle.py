"""What a published bundle says of itself: manifest, model card, license, metadata."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from ruamel.yaml import YAML

from compress.exporting.layout import lay_out
from compress.measurement.environment import environment
from compress.models.license import stated_license
from compress.models.spec import ModelSpec
from compress.recipe.load import recipe_from_dict
from compress.report.document import Delta, Latency, Quality, Report, Row, Speedup
from compress.runner.origin import Origin, license_of
from compress.runner.publish import publish
from compress.runner.workdir import Workdir

ORIGIN = Origin(weights="a" * 64, data="b" * 64)


def _recipe(*, model=None, data=None, **export):
    return recipe_from_dict(
        {
            "version": 1,
            "name": "tiny",
            "model": model or {"python": "compress.models.resnet:resnet"},
            "task": "image-classification",
            "data": data or {"sklearn": "digits"},
            "stages": [{"use": "export", **export}],
        }
    )


def _row(index, name, speedup):
    return Row(
        index=index,
        name=name,
        params=10,
        macs=10,
        size_bytes=1000,
        quality=Quality(metric="accuracy", value=0.9, ci95=(0.8, 1.0), samples=100),
        latency_ms={"1": Latency(p50=1.0, p95=1.0)},
        speedup={"1": Speedup(vs_original=speedup)},
        delta=Delta(params=0, size=0, quality=0),
        notes=["kept <this> | that"] if index else [],
    )


def _report():
    rows = [_row(0, "original", 1.0), _row(1, "export", 2.5)]
    return Report(name="tiny", status="passed", environment=environment(threads=1), stages=rows)


@pytest.fixture
def bundle(tmp_path):
    """A folder as `export` leaves it, with the layout of Transformers.js."""
    folder = tmp_path / "stage" / "bundle"
    folder.mkdir(parents=True)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], np.eye(2).ravel().tolist())
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch_size", 2]) for n in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", value[:1], value[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    helper.set_model_props(model, {"task": "image-classification"})
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "index.html").write_text("a page")
    (folder / "config.json").write_text("{}")
    lay_out(folder / "model.onnx")
    return folder


def _published(bundle, tmp_path, recipe):
    root, _ = _published_with_notes(bundle, tmp_path, recipe)
    return root, json.loads((root / "manifest.json").read_text())


def _published_with_notes(bundle, tmp_path, recipe):
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        publish(bundle, workdir, recipe, report=_report(), origin=ORIGIN)
    return workdir.root, workdir.notes


def test_the_model_holds_the_recipes_hash_and_the_stages_file_stays(bundle, tmp_path):
    before = (bundle / "model.onnx").read_bytes()
    recipe = _recipe()
    root, manifest = _published(bundle, tmp_path, recipe)
    assert (bundle / "model.onnx").read_bytes() == before
    model = onnx.load(root / "model.onnx")
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said == {"task": "image-classification", "recipe_hash": recipe.hash}
    assert model.graph == onnx.load(bundle / "model.onnx").graph
    assert manifest["recipe_hash"] == recipe.hash


def test_the_layout_of_transformers_js_is_stored_once(bundle, tmp_path):
    root, manifest = _published(bundle, tmp_path, _recipe())
    for folder in (bundle, root):
        assert (folder / "model.onnx").samefile(folder / "onnx" / "model.onnx")
    files = manifest["files"]
    assert files["onnx/model.onnx"] == files["model.onnx"]
    assert "README.md" in files


def test_an_earlier_bundles_files_go(bundle, tmp_path):
    root, _ = _published(bundle, tmp_path, _recipe())
    (bundle / "index.html").unlink()
    again, manifest = _published(bundle, tmp_path, _recipe())
    assert not (again / "index.html").exists()
    assert "index.html" not in manifest["files"]
    assert (root / "README.md").is_file()


def test_the_card_is_one_that_the_hub_reads(bundle, tmp_path):
    root, _ = _published(bundle, tmp_path, _recipe(license="mit"))
    card = (root / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert YAML(typ="safe").load(front) == {
        "license": "mit",
        "library_name": "transformers.js",
        "pipeline_tag": "image-classification",
        "tags": ["onnx", "onnxruntime", "compress"],
        "metrics": ["accuracy"],
    }
    assert "2.50x as fast as `original` at batch 1" in body
    assert "kept &lt;this> \\| that" in body
    assert "| export |" in body
    assert 'pipeline("image-classification", "tiny", { dtype: "fp32" })' in body
    assert "ORTModelForImageClassification" in body


def test_what_isnt_known_is_null_and_said(bundle, tmp_path):
    root, manifest = _published(bundle, tmp_path, _recipe())
    assert manifest["license"] is None
    assert manifest["license_from"] is None
    card = (root / "README.md").read_text()
    assert "license:" not in card.split("---\n", 2)[1]
    assert "Not stated" in card


def test_no_path_of_the_machine_stands_in_manifest_and_card(bundle, tmp_path):
    model, data = tmp_path / "secret" / "my-model", tmp_path / "hidden" / "my-data"
    model.mkdir(parents=True)
    data.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").touch()
    (data / "train.parquet").touch()
    recipe = _recipe(
        model={"transformers": str(model)},
        data={"huggingface": "parquet", "files": {"train": str(data / "train.parquet")}},
    )
    root, manifest = _published(bundle, tmp_path, recipe)
    made = manifest["made_from"]
    assert (made["model"]["name"], made["model"]["kind"]) == ("my-model", "folder")
    assert (made["data"]["name"], made["data"]["kind"]) == ("my-data", "parquet")
    assert made["model"]["weights_sha256"] == ORIGIN.weights
    for name in ("manifest.json", "README.md"):
        assert str(tmp_path) not in (root / name).read_text()


@pytest.mark.parametrize(
    ("card", "config", "wanted"),
    [
        ("---\nlicense: mit\n---\n# A", {"license": "gpl"}, "mit"),
        ("---\ntags: [a]\n---\n# A", {"license": "bsd"}, "bsd"),
        ("# license: mit", {}, None),
        (None, {}, None),
    ],
)
def test_a_license_is_read_from_card_or_config(card, config, wanted, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert stated_license(ModelSpec(transformers=str(tmp_path))) == (wanted, ())


def test_the_recipes_license_comes_first(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    model = {"transformers": str(tmp_path)}
    stated = {"license": "mit", "license_from": "the original model's card"}
    assert license_of(_recipe(model=model)) == (stated, ())
    assert license_of(_recipe(model=model, license="apache-2.0"))[0]["license"] == "apache-2.0"
