"""What a published bundle says of itself: manifest, model card, license, metadata."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from ruamel.yaml import YAML

from compress.errors import StageError
from compress.exporting.bundle.layout import lay_out
from compress.exporting.verify import bundle as verify
from compress.measurement.environment import environment
from compress.measurement.results import Latency, Quality, Speedup
from compress.models.folder.license import stated_license
from compress.models.spec import ModelSpec
from compress.recipe.load import recipe_from_dict
from compress.report.document import Delta, Report, Row
from compress.runner.folder.workdir import Workdir
from compress.runner.origin import Origin, license_of
from compress.runner.publish import publish
from compress.runner.reporting.write import write_reports
from tests.runner.folders import contents

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
        ("---\ndate: 2023-02-30\nlicense:\n  mit\ntags: [a\n---\n# A", {}, "mit"),
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


@pytest.fixture
def usual_recursion():
    """torch's compiler raises Python's limit for the whole process."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (b"---\nlicense: 2023-02-30\ntags: [a]\n---\n", "day is out of range"),
        (b"---\nlicense: \xff\xfe\n---\n", "can't decode"),
        (b"---\nlicense: [a\n---\n", "while parsing a flow"),
        (b"---\nlicense: " + b"[" * 900 + b"\n---\n", "RecursionError"),
        (b"---\nlicense: " + b"[" * 900_000 + b"\n---\n", "900,009 characters, more than 1,000"),
    ],
)
def test_a_card_that_cant_be_read_is_a_note(card, said, bundle, tmp_path, usual_recursion):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"license": "bsd"}')
    (model / "model.safetensors").touch()
    (model / "README.md").write_bytes(card)
    recipe = _recipe(model={"transformers": str(model)})
    root, notes = _published_with_notes(bundle, tmp_path, recipe)
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["license"] == "bsd"
    (note,) = notes
    assert said in note
    assert len(note) < 700


def test_a_config_that_cant_be_read_is_a_note(bundle, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").touch()
    recipe = _recipe(model={"transformers": str(model)})
    (model / "config.json").write_text("[" * 50_000)
    root, notes = _published_with_notes(bundle, tmp_path, recipe)
    assert json.loads((root / "manifest.json").read_text())["license"] is None
    assert [note[:60] for note in notes] == [
        "can't read the license in the original model's config.json: "
    ]


class BrokenError(Exception):
    """What a test lets happen."""


def _break(*_, **__):
    raise BrokenError


@pytest.mark.parametrize("step", ["with_metadata", "license_of", "model_card", "manifest_text"])
def test_an_error_while_publishing_leaves_the_old_bundle_whole(step, bundle, tmp_path, monkeypatch):
    root, _ = _published(bundle, tmp_path, _recipe())
    before = contents(root)
    (bundle / "index.html").write_text("another page")
    monkeypatch.setattr(f"compress.runner.publish.{step}", _break)
    with pytest.raises(BrokenError):
        _published(bundle, tmp_path, _recipe())
    assert contents(root) == before


def test_an_error_at_any_rename_leaves_the_old_bundle_whole(bundle, tmp_path, monkeypatch):
    root, _ = _published(bundle, tmp_path, _recipe())
    before = contents(root)
    (bundle / "index.html").unlink()
    (bundle / "page.html").write_text("another page")
    rename, left = Path.rename, 0

    def breaking(path, target):
        nonlocal left
        left -= 1
        if left == 0:
            raise BrokenError
        return rename(path, target)

    for count in range(1, 100):
        left = count
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", breaking)
            try:
                after, _ = _published(bundle, tmp_path, _recipe())
            except BrokenError:
                assert contents_without_work(root) == contents_without_work_of(before)
                continue
        break
    assert 10 < count < 100
    assert not (after / "index.html").exists()
    assert (after / "page.html").is_file()
    assert {check.status for check in verify.verify_bundle(after) if check.name == "files"} == {
        "ok"
    }


def contents_without_work(root):
    return contents_without_work_of(contents(root))


def contents_without_work_of(found):
    return {name: content for name, content in found.items() if not name.startswith(".compress/")}


def test_what_the_user_changed_or_put_in_the_way_is_kept(bundle, tmp_path):
    recipe = _recipe()
    root, _ = _published(bundle, tmp_path, recipe)
    (root / "README.md").write_text("my own words")
    (root / "index.html").write_text("my page")
    (root / "mine.onnx").write_text("mine")
    (root / "new.txt").write_text("mine too")
    (root / "config.json").unlink()
    (root / "config.json").mkdir()
    (root / "config.json" / "x").write_text("mine as well")
    (bundle / "index.html").unlink()
    (bundle / "new.txt").write_text("of the bundle")
    _, notes = _published_with_notes(bundle, tmp_path, recipe)
    found = {name: (root / name).read_text() for name in (
        "README.md.kept-1", "index.html.kept-1", "mine.onnx", "new.txt.kept-1",
        "config.json.kept-1/x",
    )}  # fmt: skip
    assert list(found.values()) == [
        "my own words", "my page", "mine", "mine too", "mine as well",
    ]  # fmt: skip
    assert (root / "README.md").read_text().startswith("---")
    assert (root / "new.txt").read_text() == "of the bundle"
    assert not (root / "index.html").exists()
    assert sorted(notes) == sorted(
        f"{name} wasn't as a run had left it; it is kept as {name}.kept-1"
        for name in ("README.md", "index.html", "new.txt", "config.json")
    )


@pytest.mark.parametrize(
    "content",
    ['{"files": {"../outside.txt": {}, "OUTSIDE": {}}}', "", "[]", "{", '{"files": null}', "\0\1"],
)
def test_a_manifest_that_lies_there_decides_nothing(content, bundle, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    root, _ = _published(bundle, tmp_path, _recipe())
    content = content.replace("OUTSIDE", str(outside))
    (root / "manifest.json").write_text(content)
    _, notes = _published_with_notes(bundle, tmp_path, _recipe())
    assert outside.read_text() == "mine"
    assert (root / "manifest.json.kept-1").read_text() == content
    assert notes == [
        "manifest.json wasn't as a run had left it; it is kept as manifest.json.kept-1"
    ]
    texts = {check.text for check in verify.verify_bundle(root) if check.status == "warning"}
    assert "not in the manifest: manifest.json.kept-1" in texts


def test_no_file_is_written_or_removed_through_a_link(bundle, tmp_path):
    root, _ = _published(bundle, tmp_path, _recipe())
    outside = tmp_path / "outside"
    shutil.move(root / "onnx", outside)
    (root / "onnx").symlink_to(outside)
    (root / "index.html").unlink()
    (root / "index.html").symlink_to(outside / "page.html")
    before = contents(outside)
    _published(bundle, tmp_path, _recipe(license="mit"))
    assert contents(outside) == before
    assert (root / "onnx.kept-1").is_symlink()
    assert (root / "index.html.kept-1").is_symlink()
    assert (root / "onnx" / "model.onnx").is_file()
    assert not (root / "onnx").is_symlink()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema": 1}', "\0\1", "[" * 50_000])
def test_without_the_record_every_file_counts_as_the_users(content, bundle, tmp_path):
    root, _ = _published(bundle, tmp_path, _recipe())
    (root / ".compress" / "files.json").write_text(content)
    _, notes = _published_with_notes(bundle, tmp_path, _recipe())
    assert "the record of the run's files can't be trusted" in notes[0]
    assert (root / ".compress" / "files.json.kept-1").read_text() == content
    assert (root / "model.onnx.kept-1").is_file()
    assert {check.status for check in verify.verify_bundle(root)} >= {"ok", "warning"}


@pytest.mark.parametrize("name", ["stages/x", "report.md", ".compress/lock", ".compress-run.json"])
def test_a_bundle_may_not_hold_the_runs_own_names(name, bundle, tmp_path):
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_text("x")
    with pytest.raises(StageError, match="a name that the run itself needs"):
        _published(bundle, tmp_path, _recipe())


def test_reports_that_the_user_changed_are_kept(tmp_path):
    workdir = Workdir(tmp_path)
    with workdir.open():
        write_reports(_report(), workdir)
        (tmp_path / "report.md").write_text("my words")
        written = write_reports(_report(), workdir)
    assert (tmp_path / "report.md.kept-1").read_text() == "my words"
    note = "report.md wasn't as a run had left it; it is kept as report.md.kept-1"
    assert written.notes == [note]
    assert note in json.loads((tmp_path / "report.json").read_text())["notes"]
