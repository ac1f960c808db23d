"""Samples come as the source has them: files byte for byte, images of a function without a loss."""

import io

import numpy as np
import pytest
from PIL import Image

from compress.core.batch import IGNORED
from compress.data.dataset import load_data
from compress.data.images.transform import as_array
from compress.data.raw import raw_samples
from compress.data.rows import SequenceRows
from compress.data.spec import DataSpec
from compress.data.splits import Samples
from compress.errors import DataError
from compress.tasks.task import task

ORIENTATION = 0x0112


def samples(values, columns, *, order=(1, 0)):
    rows = SequenceRows("train", values, columns, None)
    return Samples(rows, np.array(order), np.full(len(order), IGNORED))


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("format_", ["imagefolder", "parquet"])
def test_files_stay_what_they_are(format_, tmp_path):
    content = {}
    for name in ("x", "y"):
        folder = tmp_path / "images" / "train" / name
        folder.mkdir(parents=True)
        for at in range(6):
            exif = Image.Exif()
            exif[ORIENTATION] = at + 1
            Image.fromarray(noise(8, 12, 3)).save(folder / f"{at}.jpg", exif=exif, comment=f"{at}")
            content[f"{name}{at}"] = (folder / f"{at}.jpg").read_bytes()
    if format_ == "imagefolder":
        spec = DataSpec(huggingface="imagefolder", folder=tmp_path / "images")
    else:
        from datasets import Dataset, Features, Value
        from datasets import Image as ImageFeature

        rows = [
            {"image": {"bytes": value, "path": None}, "label": name[0]}
            for name, value in content.items()
        ]
        features = Features({"image": ImageFeature(), "label": Value("string")})
        table = Dataset.from_list(rows, features=features)
        table.to_parquet(str(tmp_path / "train.parquet"))
        spec = DataSpec(huggingface="parquet", files={"train": tmp_path / "train.parquet"})
    data = load_data(spec, task=task("image-classification"), labels=(), seed=0)
    raw = data.raw("train", limit=3)
    assert raw.kind == "image"
    assert len(set(raw.values)) == 3
    assert set(raw.values) <= set(content.values())
    fetched = data.splits["train"].fetch(np.arange(3))["image"]
    for file, image in zip(raw.values, fetched, strict=True):
        np.testing.assert_array_equal(as_array(Image.open(io.BytesIO(file)), 3), as_array(image, 3))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", [None, 6])
def test_images_of_a_function_become_files_without_a_loss(mode, orientation):
    image = Image.fromarray(noise(5, 7, 3)).convert("L" if mode == "LA" else "RGB").convert(mode)
    if orientation is not None:
        image.getexif()[ORIENTATION] = orientation
    raw = raw_samples(samples([{"i": image}], {"image": "i"}, order=(0,)), limit=2)
    again = Image.open(io.BytesIO(raw.values[0]))
    assert again.mode == mode
    for channels in (1, 3):
        np.testing.assert_array_equal(as_array(again, channels), as_array(image, channels))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4), (5, 1)])
def test_arrays_become_files_without_a_loss(shape):
    array = noise(*shape)
    raw = raw_samples(samples([{"i": array}], {"image": "i"}, order=(0,)), limit=1)
    again = Image.open(io.BytesIO(raw.values[0]))
    np.testing.assert_array_equal(as_array(again, None), as_array(array, None))


def test_texts_of_every_kind():
    texts = [{"t": "a\x00", "u": "b"}, {"t": "", "u": "\U0001f642"}]
    one, pair = {"text": "t"}, {"text": "t", "text_pair": "u"}
    assert raw_samples(samples(texts, one), limit=8).values == ("", "a\x00")
    found = raw_samples(samples(texts, pair), limit=1)
    assert (found.kind, found.values) == ("pair", (["", "\U0001f642"],))
    listed = [{"w": np.array(["a", "b"])}, {"w": ["c"]}]
    words = raw_samples(samples(listed, {"tokens": "w"}), limit=8)
    assert (words.kind, words.values) == ("words", (["c"], ["a", "b"]))
    long = samples([{"t": "x" * 500}, {"t": " "}], one)
    prompts = raw_samples(long, limit=8, generates=True)
    assert (prompts.kind, prompts.values) == ("prompt", ("x" * 200,))


def test_what_is_no_image_is_refused():
    with pytest.raises(DataError, match=r"an image must be a PIL image or an array\. Got str"):
        raw_samples(samples([{"i": "x"}], {"image": "i"}, order=(0,)), limit=1)
