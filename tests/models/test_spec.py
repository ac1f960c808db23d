import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from compress.models.spec import ModelSpec


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"transformers": "a/b", "python": "a:b"},
        {"transformers": "a/b", "weights": "w.safetensors"},
        {"python": "a:b", "revision": "main"},
        {"transformers": "a/b", "trust_remote_code": True},
    ],
)
def test_impossible_combinations_are_refused(values):
    with pytest.raises(ValidationError):
        ModelSpec.model_validate(values)


def test_a_whole_folder_and_a_hub_id_pass(bert_folder):
    assert ModelSpec(transformers=str(bert_folder)).check("text-classification") == []
    assert ModelSpec(transformers="prajjwal1/bert-tiny").check("text-classification") == []


def test_folders_name_what_they_lack(bert_folder):
    spec = ModelSpec(transformers=str(bert_folder))
    (bert_folder / "model.safetensors").unlink()
    [(key, problem)] = spec.check("text-classification")
    assert key == "transformers"
    assert "no weights" in problem
    assert "model.safetensors" in problem
    (bert_folder / "config.json").write_text("{", encoding="utf-8")
    assert "JSON" in spec.check("text-classification")[0][1]
    (bert_folder / "config.json").unlink()
    assert "no config.json" in spec.check("text-classification")[0][1]
    missing = ModelSpec(transformers="./not/here")
    assert "no folder" in missing.check("text-classification")[0][1]


def test_sharded_and_old_weights_count(bert_folder):
    spec = ModelSpec(transformers=str(bert_folder))
    (bert_folder / "model.safetensors").rename(bert_folder / "pytorch_model.bin")
    assert spec.check("text-classification") == []
    (bert_folder / "pytorch_model.bin").unlink()
    index = bert_folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {}}), encoding="utf-8")
    assert spec.check("text-classification") == []


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ("compress.models.resnet:resnet", None),
        ("compress.models.resnett:resnet", "'compress.models.resnett'"),
        ("nowhere.at.all:x", "'nowhere'"),
        ("compress.models.resnet", "package.module:name"),
        ("compress..resnet:x", "package.module:name"),
    ],
)
def test_python_entries_are_looked_up(entry, part):
    problems = ModelSpec(python=entry).check("image-classification")
    assert (not problems) if part is None else (part in problems[0][1])


def test_current_directory_is_importable(tmp_path, monkeypatch):
    (tmp_path / "my_spec_nets.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    spec = ModelSpec(python="my_spec_nets:make")
    assert spec.check("image-classification")
    monkeypatch.chdir(tmp_path)
    assert spec.check("image-classification") == []  # found, and not run
    assert str(tmp_path) not in sys.path


def test_missing_weights_file_and_generation_are_told_together(tmp_path):
    spec = ModelSpec(python="compress.models.resnet:resnet", weights=tmp_path / "none.safetensors")
    assert [key for key, _ in spec.check("text-generation")] == ["weights", "python"]


def test_checking_imports_no_torch():
    script = (
        "import sys\nfrom compress.models.spec import ModelSpec\n"
        "ModelSpec(python='compress.models.resnet:resnet').check('image-classification')\n"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
