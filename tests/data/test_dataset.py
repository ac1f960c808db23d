import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from compress.data.dataset import load_data
from compress.data.images.transform import ImagePreprocessor, Transform
from compress.data.spec import DataSpec
from compress.errors import DataError
from compress.tasks.task import task

IMAGES, TEXTS = task("image-classification"), task("text-classification")


def load(what, labels=(), seed=0, **keys):
    return load_data(DataSpec.model_validate(keys), task=what, labels=labels, seed=seed)


def table(count, **columns):
    rows = {
        "text": [f"t{at}" for at in range(count)],
        "label": ["ab"[at % 2] for at in range(count)],
    }
    return {name: values for name, values in (rows | columns).items() if values is not None}


def write(path, columns):
    import datasets
    import pyarrow as pa

    data = datasets.Dataset.from_dict(columns)
    if path.suffix == ".arrow":
        table = pa.table(columns)
        with pa.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table)
        return str(path)
    {".csv": data.to_csv, ".parquet": data.to_parquet, ".json": data.to_json}[path.suffix](path)
    return str(path)


def test_digits():
    data = load(IMAGES, sklearn="digits")
    assert data.labels == tuple("0123456789")
    assert sum(data.size(split) for split in ("train", "validation", "test")) == 1797
    batch = next(iter(data.loader("train", ImagePreprocessor(), batch_size=500)))
    assert batch["pixel_values"].shape == (500, 1, 8, 8)
    assert batch["pixel_values"].max() == 1.0
    assert len(data.notes) == 4
    with pytest.raises(DataError, match="'sklearn' holds images"):
        load(TEXTS, sklearn="digits")


def test_idx(tmp_path, write_idx):
    images = np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2)
    write_idx(tmp_path, "train", images, np.arange(12) % 3, zipped=True)
    write_idx(tmp_path, "t10k", images[:2], [2, 1])
    data = load(IMAGES, idx=tmp_path, validation_fraction=0.25)
    assert [data.size(s) for s in ("train", "validation", "test", "calibration")] == [9, 3, 2, 9]
    batch = next(iter(data.loader("test", ImagePreprocessor(), batch_size=8)))
    assert (batch["pixel_values"] * 255).round().flatten().tolist() == list(range(8))
    assert batch["labels"].tolist() == [2, 1]
    renamed = load(IMAGES, idx=tmp_path, splits={"train": "train", "validation": "t10k"})
    assert renamed.size("validation") == 2
    with pytest.raises(DataError, match=r"row 0 of split 'test'.* Got 2"):
        load(IMAGES, labels=("a", "b"), idx=tmp_path, limit={"train": 1}, splits={
            "test": "t10k", "train": "train"})  # fmt: skip
    with pytest.raises(DataError, match="there is no folder"):
        load(IMAGES, idx=tmp_path / "none")


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "arrow"])
def test_tables_of_text(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / f"a.{kind}", table(6))
    write(tmp_path / f"b.{kind}", table(4))
    write(tmp_path / f"t.{kind}", table(3, label=["b", "b", "a"], text=["x", "NA", "null"]))
    data = load(
        TEXTS, huggingface=kind, files={"train": [f"a.{kind}", f"b.{kind}"], "test": f"t.{kind}"}
    )
    assert data.labels == ("a", "b")
    assert data.size("train") + data.size("validation") == 10
    assert data.splits["test"].targets.tolist() == [1, 1, 0]
    assert data.splits["test"].fetch(np.array([1, 2]))["text"] == ["NA", "null"]


def test_problems_of_tables(tmp_path):
    good = write(tmp_path / "good.parquet", table(4))

    def problem(match, *, labels=(), columns=None, **files):
        keys = {"huggingface": "parquet", "files": {"train": good} | files}
        if columns:
            keys["columns"] = columns
        with pytest.raises(DataError, match=match):
            load(TEXTS, labels=labels, **keys)

    problem("split 'test': there is no file", test=str(tmp_path / "none.parquet"))
    bare = write(tmp_path / "bare.parquet", table(3, label=None))
    problem("split 'test': unknown column 'label'. Known: text.*'columns'", test=bare)
    problem("split 'train': unknown column 'sentence'", columns={"text": "sentence"})
    problem(r"row 1 of split 'train'.* model's 2 labels: a, c. Got 'b'", labels=("a", "c"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    problem("can't read .*broken.parquet' as parquet", test=str(tmp_path / "broken.parquet"))


def test_an_empty_split_is_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    good = write(tmp_path / "good.parquet", table(4))
    schema = pa.schema({"text": pa.string(), "label": pa.string()})
    pq.write_table(schema.empty_table(), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="empty"):
        load(TEXTS, huggingface="parquet", files={
            "train": good, "test": str(tmp_path / "empty.parquet")})  # fmt: skip


def test_a_missing_text_is_named_by_its_row(tmp_path):
    path = write(tmp_path / "a.parquet", table(3, text=["x", None, "y"]))
    data = load(TEXTS, huggingface="parquet", files={"train": path})
    with pytest.raises(DataError, match="row 1 of split 'train': 'text' must be a text"):
        data.splits["train"].rows.fetch(np.array([0, 1]))


def test_class_labels_and_saved_folders(tmp_path):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    data = datasets.Dataset.from_dict(table(4, label=[0, 1, 1, 0]), features=features)
    datasets.DatasetDict({"training": data, "test": data}).save_to_disk(tmp_path / "saved")
    keys = {"huggingface": str(tmp_path / "saved"), "splits": {"train": "training"}}
    loaded = load(TEXTS, labels=("yes", "no"), **keys)
    assert loaded.splits["train"].rows.label_names == ("no", "yes")
    assert loaded.splits["train"].targets.tolist() == [
        [1, 0, 0, 1][at] for at in loaded.splits["train"].indices
    ]
    assert "not used: test" in loaded.notes[0]
    with pytest.raises(DataError, match=r"splits.train: unknown split 'trein'.*'training'"):
        load(TEXTS, **keys | {"splits": {"train": "trein"}})
    with pytest.raises(DataError, match=r"no split 'train'. Found: test"):
        load(TEXTS, huggingface=str(tmp_path / "saved"))


def test_folders_of_images_are_decoded_per_batch(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for at in range(5):
            image = np.full((4, 6, 3), 40 * at, np.uint8)
            Image.fromarray(image).save(tmp_path / "train" / name / f"{at}.png")
    data = load(IMAGES, huggingface="imagefolder", folder=tmp_path)
    assert data.labels == ("cat", "dog")
    loader = data.loader("train", ImagePreprocessor(Transform(size=(4, 4))), batch_size=3)
    batches = list(loader)
    assert batches[0]["pixel_values"].shape == (3, 3, 4, 4)
    rows = data.splits["train"].indices
    expected = [40 * (int(row) % 5) for row in rows]
    got = [round(float(image.max()) * 255) for batch in batches for image in batch["pixel_values"]]
    assert got == expected
    with pytest.raises(DataError, match="unknown column 'text'"):
        load(TEXTS, huggingface="imagefolder", folder=tmp_path)


def test_images_by_path_in_a_table(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    paths = [str(tmp_path / "a.png")] * 4 + [str(tmp_path / "gone.png")]
    columns = {"image": paths, "label": [0, 1, 0, 1, 0]}
    path = write(tmp_path / "a.csv", columns)
    data = load(IMAGES, huggingface="csv", files={"train": path, "test": path})
    loader = data.loader("test", ImagePreprocessor(), batch_size=4)
    batches = iter(loader)
    assert next(batches)["pixel_values"].shape == (4, 1, 4, 4)
    with pytest.raises(DataError, match=r"an image of split 'test' can't be read: .*gone.png"):
        next(batches)
    numbers = write(tmp_path / "b.csv", {"image": [1.5] * 4, "label": [0] * 4})
    with pytest.raises(DataError, match="not images"):
        load(IMAGES, huggingface="csv", files={"train": numbers})


MODULE = """
import numpy as np
def load(count=9, value=1):
    one = {"image": np.full((2, 3), value, np.uint8), "text": "x", "label": "b"}
    return {"train": [one] * count, "extra": []}
def wrong():
    return [1]
number = 3
"""


def test_python_functions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples_of_mine.py").write_text(MODULE)
    keys = {"python": "samples_of_mine:load", "arguments": {"count": 8}}
    data = load(IMAGES, **keys)
    assert data.labels == ("b",)
    assert data.size("train") == 6
    assert "extra" in data.notes[0]
    batch = next(iter(data.loader("test", ImagePreprocessor(), batch_size=2)))
    assert batch["pixel_values"].shape == (1, 1, 2, 3)
    other = load(IMAGES, python="samples_of_mine:load", arguments={"count": 8, "value": 2})
    assert other.fingerprint != data.fingerprint == load(IMAGES, **keys).fingerprint
    for target, problem in (
        ("samples_of_mine:wrong", "must return a mapping of split names.* Got list"),
        ("samples_of_mine:none", "has no 'none'"),
        ("samples_of_mine:number", "must be a function, or anything callable. Got 3"),
        ("no_module_of_mine:load", "no module 'no_module_of_mine'"),
    ):
        with pytest.raises(DataError, match=problem):
            load(IMAGES, python=target)
    with pytest.raises(DataError, match="row 0 of split 'train': unknown column 'picture'"):
        load(IMAGES, columns={"image": "picture"}, **keys)
    sys.modules.pop("samples_of_mine")


def test_the_fingerprint_follows_content_and_choices(tmp_path, write_idx):
    images = np.zeros((9, 2, 2), np.uint8)
    write_idx(tmp_path, "train", images, [0, 1, 2] * 3)

    def of(seed=0, **keys):
        return load(IMAGES, seed=seed, idx=tmp_path, **keys).fingerprint

    first = of()
    others = {of(seed=1), of(limit={"train": 2}), of(validation_fraction=0.3)}
    assert len(others | {first}) == 4
    code = (
        "from compress.data.dataset import load_data\n"
        "from compress.data.spec import DataSpec\n"
        "from compress.tasks.task import task\n"
        f"spec = DataSpec(idx={str(tmp_path)!r})\n"
        "data = load_data(spec, task=task('image-classification'), labels=(), seed=0)\n"
        "print(data.fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == first
    images[4, 1, 1] = 1
    write_idx(tmp_path, "train", images, [0, 1, 2] * 3)
    assert of() != first


def test_the_fingerprint_of_a_table_follows_its_file(tmp_path):
    path = write(tmp_path / "a.json", table(5))

    def of():
        return load(TEXTS, huggingface="json", files={"train": path}).fingerprint

    first = of()
    assert of() == first
    lines = (tmp_path / "a.json").read_text().replace("t3", "t9")
    assert json.loads(lines.splitlines()[3])["text"] == "t9"
    times = (tmp_path / "a.json").stat()
    (tmp_path / "a.json").write_text(lines)
    os.utime(tmp_path / "a.json", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert of() != first
    data = load(TEXTS, huggingface="json", files={"train": path})
    assert "t9" in data.splits["train"].rows.fetch(np.arange(5))["text"]


def test_the_hub_out_of_reach_says_what_to_do(monkeypatch):
    import datasets

    def offline(*args, **options):
        raise ConnectionError("Couldn't reach 'some/data' on the Hub\nmore")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(DataError) as caught:
        load(TEXTS, huggingface="some/data")
    assert "Couldn't reach 'some/data'" in str(caught.value)
    assert "huggingface: ./folder" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="there is no folder"):
        load(TEXTS, huggingface="./some/data")


def test_other_libraries_are_quiet(tmp_path, capfd):
    import datasets

    path = write(tmp_path / "a.parquet", table(5))
    capfd.readouterr()
    load(TEXTS, huggingface="parquet", files={"train": path})
    assert capfd.readouterr() == ("", "")
    assert not datasets.are_progress_bars_disabled()
