import pytest
from pydantic import ValidationError

from compress.data.spec import SOURCES, DataSpec, ImageSpec


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, f"exactly one of {', '.join(SOURCES)} must be named. Got none"),
        ({"idx": "a", "sklearn": "digits"}, "Got idx and sklearn"),
        ({"sklearn": "digits", "files": {"train": "a"}}, "'files' is only for"),
        ({"sklearn": "digits", "splits": {"test": "a"}}, "'splits' is only for"),
        ({"huggingface": "parquet"}, "needs 'files' with a 'train' entry"),
        ({"huggingface": "csv", "files": {"test": "a"}}, "needs 'files' with a 'train' entry"),
        ({"huggingface": "imagefolder"}, "needs 'folder'"),
        ({"huggingface": "imagefolder", "folder": "a", "revision": "b"}, "'revision' is only for"),
        ({"idx": "a", "arguments": {"x": 1}}, "'arguments' is only for 'python'"),
        ({"python": "module.function"}, "String should match pattern"),
        ({"sklearn": "digits", "image": {"mean": [0.1, 0.2]}}, "'mean' must be 1 or 3 numbers"),
        ({"sklearn": "digits", "limit": {"training": 3}}, "Input should be 'train'"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys, problem):
    with pytest.raises(ValidationError, match=problem):
        DataSpec.model_validate(keys)


def test_mean_and_std_agree_in_channels():
    with pytest.raises(ValidationError, match="of one number of channels"):
        ImageSpec(mean=[0.5], std=[0.5, 0.5, 0.5])


def test_check_names_each_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("text,label\n")
    spec = DataSpec(
        huggingface="csv",
        files={"train": ["a.csv", "b.csv"], "test": "c.csv"},
        tokenizer="./nowhere",
    )
    assert spec.check() == [
        ("files.train", "there is no file 'b.csv': no such file or directory."),
        ("files.test", "there is no file 'c.csv': no such file or directory."),
        ("tokenizer", "there is no folder './nowhere': no such file or directory."),
    ]
    (tmp_path / "b.csv").touch()
    (tmp_path / "c.csv").touch()
    (tmp_path / "nowhere").mkdir()
    assert spec.check() == []


def test_check_of_idx(tmp_path, write_idx):
    assert DataSpec(idx=tmp_path / "none").check()[0][0] == "idx"
    missing = DataSpec(idx=tmp_path).check()
    assert [key for key, _ in missing] == ["idx", "idx"]
    assert "train-images-idx3-ubyte" in missing[0][1]
    write_idx(tmp_path, "train", [[[1]]], [0], zipped=True)
    assert DataSpec(idx=tmp_path).check() == []
    assert DataSpec(idx=tmp_path, splits={"train": "train", "test": "t10k"}).check()


def test_check_of_a_module_does_not_import_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_samples_here.py").write_text("raise RuntimeError\n")
    assert DataSpec(python="my_samples_here:load").check() == []
    ((key, sentence),) = DataSpec(python="no_such_module_here:load").check()
    assert key == "python"
    assert sentence.startswith("there is no module 'no_such_module_here' on Python's path or in ")


def test_every_key_is_described():
    schema = DataSpec.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, field in model["properties"].items():
            assert field.get("description"), name
