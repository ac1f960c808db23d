"""Data that is damaged, or far larger than it looks: exit code 2, with its name, at once."""

import gzip
import json
import os
import re
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from compress.cli import main
from compress.data.dataset import load_data, open_source
from compress.data.images.transform import Transform, as_array
from compress.data.sources.extent import MOST_COLUMNS, MOST_DEPTH, require_extent
from compress.data.spec import DataSpec
from compress.errors import DataError
from compress.tasks.task import task

TEXT, IMAGE = task("text-classification"), task("image-classification")
RECIPE = """\
version: 1
name: wrong
model: {python: "compress.models.resnet:resnet", arguments: {width: 4, blocks: [1]}}
task: image-classification
data: {idx: images}
stages:
  - use: export
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("compress.cli.app.silence_libraries", lambda: None)
    return tmp_path


def loaded(form: str, path: str, **more: object):
    spec = DataSpec(huggingface=form, files={"train": path}, **more)
    return load_data(spec, task=TEXT, labels=(), seed=0)


def parquet() -> bytes:
    pq.write_table(pa.table({"text": ["a"] * 50, "label": [0] * 50}), "whole.parquet")
    return Path("whole.parquet").read_bytes()


def arrow() -> bytes:
    table = pa.table({"text": ["a"] * 50, "label": [0] * 50})
    with pa.OSFile("whole.arrow", "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return Path("whole.arrow").read_bytes()


BINARY = bytes(range(256)) * 8
CASES = {
    "empty csv": ("csv", b""),
    "empty json": ("json", b""),
    "empty parquet": ("parquet", b""),
    "empty arrow": ("arrow", b""),
    "blank json": ("json", b"\n\n"),
    "blank csv": ("csv", b"\n\n"),
    "binary csv": ("csv", BINARY),
    "binary json": ("json", BINARY),
    "binary parquet": ("parquet", BINARY),
    "binary arrow": ("arrow", BINARY),
    "json cut short": ("json", b'{"text": "a", "label": 0}\n{"text": "b", "la'),
    "json of numbers": ("json", b"1\n2\n"),
    "an empty list": ("json", b"[]"),
    "an empty mapping": ("json", b"{}"),
    "null": ("json", b"null"),
    "json that is no table": ("json", b'[[1, 2], "a"]'),
    "json of mixed types": ("json", b'{"text": "a", "label": 0}\n{"text": 3, "label": {"x": 1}}\n'),
    "json in Latin-1": ("json", '{"text": "é", "label": 0}\n'.encode("latin-1")),
    "json 2,000 deep": ("json", b'{"text":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    "json 200,000 deep": ("json", b'{"text":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "json of mappings": ("json", b'{"text":' * 50_000),
    "csv in Latin-1": ("csv", "text,label\né,0\n".encode("latin-1") * 3),
    "csv in UTF-16": ("csv", "text,label\na,0\n".encode("utf-16")),
    "ragged csv": ("csv", b"text,label\n" + b"a,0\nb,1,2,3\n" * 3),
    "an open quote": ("csv", b'text,label\n"a,0\n' + b"b,1\n" * 5),
    "a header alone": ("csv", b"text,label\n"),
    "many columns": ("csv", b",".join(b"c%d" % at for at in range(20_000)) + b"\n"),
    "other columns": ("csv", b"a,b\n1,2\n"),
    "labels with gaps": ("csv", b"text,label\n" + b"a,0\nb,0.5\nc,1\n" * 3),
    "labels that are lists": ("json", b'{"text": "a", "label": [0]}\n' * 9),
    "labels that are null": ("json", b'{"text": "a", "label": null}\n' * 9),
    "huge labels": ("json", b'{"text": "a", "label": 1000000000000}\n' * 9),
    "texts that are numbers": ("json", b'{"text": 1, "label": 0}\n' * 9),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_that_is_damaged_is_named(case: str) -> None:
    form, content = CASES[case]
    Path(f"data.{form}").write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(DataError) as refusal:
        loaded(form, f"data.{form}").splits["train"].fetch(np.arange(2))
    said = str(refusal.value)
    assert f"data.{form}" in said or "split 'train'" in said or "a label that is" in said
    assert len(said) < 2000
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("make", [parquet, arrow])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_table_that_is_cut_short_is_named(make, share: float) -> None:
    content = make()
    form = make.__name__
    Path(f"data.{form}").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=rf"data\.{form}"):
        loaded(form, f"data.{form}")


def test_what_is_no_file_is_not_opened() -> None:
    os.mkfifo("pipe")
    for path, said in (
        ("pipe", "pipe or a device"),
        ("/dev/zero", "pipe or a device"),
        (".", "dir"),
    ):
        with pytest.raises(DataError, match=said):
            loaded("csv", path)


def test_brackets_in_strings_are_no_nesting() -> None:
    text = "[" * 1000 + '\\"[[{' * 500
    rows = [json.dumps({"text": text, "label": 0}) for _ in range(400)]
    Path("data.json").write_text("\n".join(rows))
    require_extent("json", Path("data.json"))
    Path("deep.json").write_text("[" * MOST_DEPTH + "]" * MOST_DEPTH)
    require_extent("json", Path("deep.json"))
    Path("deep.json").write_text('[{"a": ' * MOST_DEPTH)
    with pytest.raises(DataError, match=f"may nest at most {MOST_DEPTH} deep"):
        require_extent("json", Path("deep.json"))


def test_a_wide_table_is_refused_by_its_header() -> None:
    names = [f"c{at}" for at in range(MOST_COLUMNS + 1)]
    Path("wide.csv").write_text(",".join(names))
    pq.write_table(pa.table({name: [1] for name in names}), "wide.parquet")
    for form in ("csv", "parquet"):
        with pytest.raises(DataError, match=f"at most {MOST_COLUMNS:,} columns. Got 10,001"):
            require_extent(form, Path(f"wide.{form}"))


def idx(shape: tuple[int, ...], body: bytes) -> bytes:
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + body


def zeros(count: int) -> bytes:
    """`count` zeros as one member of a gzip file, made without holding them."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(count >> 20)]
    return b"".join([*parts, packer.flush()])


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (gzip.compress(idx((3 * 2**20, 32, 32), b"")), "must hold at most 2,147,483,648 values"),
        (gzip.compress(idx((2**31, 2**31, 2**31), b"")), "must hold at most 2,147,483,648 values"),
        (gzip.compress(idx((2, 3, 3), b"\0" * 17)), "holds 18 values .2, 3, 3.; it holds 17"),
        (
            gzip.compress(idx((2, 3, 3), b"")) + zeros(64 << 20),
            "18 values .2, 3, 3.; it holds more",
        ),
        (gzip.compress(idx((2, 3, 3), b"\0" * 18))[:-9], "can't be read"),
        (gzip.compress(idx((2, 0, 3), b"")), "images without pixels"),
        (gzip.compress(b"\0\0"), "isn't an IDX file"),
        (b"", "isn't an IDX file"),
        (b"\x1f\x8b" + b"\xff" * 30, "can't be read"),
    ],
    ids=["3 GB", "2^93", "cut", "more", "cut gzip", "no pixels", "short", "empty", "no gzip"],
)
def test_an_idx_file_is_unpacked_no_further_than_it_says(
    images: bytes, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("recipe.yaml").write_text(RECIPE)
    Path("images").mkdir()
    Path("images/train-images-idx3-ubyte.gz").write_bytes(images)
    Path("images/train-labels-idx1-ubyte").write_bytes(idx((2,), b"\0\1"))
    with pytest.raises(SystemExit) as ended:
        main(["recipe.yaml"])
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert said.startswith("error: 'images/train-images-idx3-ubyte.gz'")
    assert re.search(sentence, said)


def png(width: int, height: int) -> bytes:
    """A grey image that is black; its pixels are packed, and as many as it says."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + width)) for _ in range(min(height, 64)))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", rows + packer.flush())
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "bad",
    [
        png(30_000, 30_000),
        png(8, 8)[:40],
        b"",
        b"no image",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        png(8, 8).replace(b"IDAT", b"IDAX"),
    ],
    ids=["bomb", "cut", "empty", "text", "zeros", "renamed"],
)
def test_an_image_that_is_damaged_or_a_bomb_names_its_row(bad: bytes) -> None:
    images = [png(8, 8)] * 5 + [bad] + [png(8, 8)] * 5
    pq.write_table(pa.table({"image": images, "label": [0] * 11}), "images.parquet")
    spec = DataSpec(huggingface="parquet", files={"train": "images.parquet"})
    rows = open_source(spec, IMAGE).splits["train"]
    with pytest.raises(DataError, match="row 5: an image of split 'train' can't be read"):
        rows.fetch(np.arange(11))


def test_images_of_more_bits_say_how_to_convert_them() -> None:
    deep = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    assert deep.mode == "I;16"
    with pytest.raises(
        DataError, match=r"mode I;16\. Images of 16 bits become 8-bit ones by"
    ) as said:
        as_array(deep, 1)
    command = str(said.value).rpartition(" by ")[2].rstrip(".")
    converted = eval(command, {"Image": Image, "np": np, "image": deep})  # noqa: S307
    assert as_array(converted, 1).shape == (8, 8, 1)
    with pytest.raises(DataError, match="Scale the values"):
        as_array(Image.new("F", (4, 4)), 1)


@pytest.mark.parametrize("empty", [np.zeros((0, 8, 3), np.uint8), np.zeros((8, 0), np.uint8)])
def test_images_without_pixels(empty: np.ndarray) -> None:
    for channels in (1, 3, None):
        with pytest.raises(DataError, match="no pixels"):
            as_array(empty, channels)
        with pytest.raises(DataError, match="no pixels"):
            Transform(size=(4, 4), channels=channels)([empty])
