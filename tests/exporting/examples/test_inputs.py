"""What is done to an input when a model is measured, the bundle's script does too, or refuses."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from compress.data.images.transform import COLOUR_MODES, GREY_MODES, ImagePreprocessor, Transform
from compress.data.texts.encode import TextPreprocessor
from compress.errors import DataError
from tests.exporting.examples.inputs import script_of, word_level

ORIENTATION = 0x0112
TEXTS = ["a", "a b c d e f g h a b c d", "h g f e d c b", "b b"]
PAIRS = [
    ["a b", "c"],
    ["a b c d e f g", "a b"],
    ["a", "a b c d e f g h"],
    ["a b c d e", "e d c b a"],
]
TASKS_OF_TEXTS = (
    "text-classification",
    "multi-label-text-classification",
    "feature-extraction",
    "token-classification",
)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def turned(folder, orientation, kind):
    """A file whose tag says that it is to be turned."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = folder / f"{orientation}.{kind}"
    options = {"jpeg": {"quality": 95}, "webp": {"lossless": True}}.get(kind, {})
    Image.fromarray(np.kron(noise(3, 5, 3), np.ones((8, 8, 1), np.uint8))).save(
        path, exif=exif, **options
    )
    return path


def stored(preprocessor, folder, **more):
    """What a bundle has of a preprocessor."""
    preprocessor.save(folder)
    path = folder / "preprocessing.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    return folder


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("task", ["image-classification", "multi-label-image-classification"])
def test_images_are_turned_once_everywhere(task, kind, tmp_path):
    from datasets import Dataset, Features
    from datasets import Image as ImageFeature

    preprocess = ImagePreprocessor(Transform(size=(12, 20), channels=3))
    script = script_of(stored(preprocess, tmp_path), task)
    paths = [turned(tmp_path, orientation, kind) for orientation in range(1, 9)]
    wanted = preprocess([np.asarray(ImageOps.exif_transpose(Image.open(path))) for path in paths])
    opened = preprocess([Image.open(path) for path in paths])
    table = Dataset.from_dict(
        {"image": [str(path) for path in paths]}, Features({"image": ImageFeature()})
    )
    for given_ in (opened, preprocess(table["image"]), script["preprocess"](paths)):
        np.testing.assert_allclose(
            np.asarray(given_["pixel_values"]), wanted["pixel_values"], atol=1e-6
        )
    assert len({values.numpy().tobytes() for values in wanted["pixel_values"]}) == 8
    constants = json.loads((tmp_path / "preprocessing.json").read_text())
    assert constants["orientation"] == "exif"


def test_a_processor_gets_turned_images_too(tmp_path):
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 8}, crop_size={"height": 60, "width": 60}
    )
    preprocess = ImagePreprocessor(processor=processor)
    path = turned(tmp_path, 6, "png")
    upright = ImageOps.exif_transpose(Image.open(path))
    np.testing.assert_array_equal(
        preprocess([Image.open(path)])["pixel_values"], preprocess([upright])["pixel_values"]
    )


def test_the_data_of_a_function_is_other_data_when_turned_or_coloured_otherwise(
    tmp_path, monkeypatch
):
    from compress.data.sources.functions import open_python
    from compress.data.spec import DataSpec
    from compress.tasks.task import TASKS

    code = "def load(image): return {'train': [{'image': IMAGES[image], 'label': 0}]}\n"
    (tmp_path / "pictures_to_turn.py").write_text("IMAGES = []\n" + code)
    monkeypatch.syspath_prepend(str(tmp_path))
    import pictures_to_turn

    palette = Image.fromarray(noise(4, 4, 3)).quantize(4)
    other = palette.copy()
    other.putpalette([9, 9, 9] * 4)
    square = Image.fromarray(noise(4, 4, 3))
    tagged = square.copy()
    tagged.getexif()[ORIENTATION] = 3
    pictures_to_turn.IMAGES.extend((palette, other, square, tagged))
    specs = [
        DataSpec(python="pictures_to_turn:load", arguments={"image": image}) for image in range(4)
    ]
    found = [open_python(spec.python, spec, TASKS["image-classification"]) for spec in specs]
    assert len({source.fingerprint for source in found}) == 4


def images_of_every_mode():
    colour = Image.fromarray(noise(9, 7, 3))
    alpha = Image.fromarray(noise(9, 7))
    rgba, la = colour.copy(), colour.convert("L")
    rgba.putalpha(alpha)
    la.putalpha(alpha)
    seen = colour.quantize(8)
    seen.info["transparency"] = 3
    made = [colour.convert(mode) for mode in ("1", "L", "P", "RGB", "CMYK")]
    return [*made, rgba, la, seen]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_the_same_pixels(channels, tmp_path):
    preprocess = ImagePreprocessor(Transform(size=(6, 6), channels=channels))
    script = script_of(stored(preprocess, tmp_path), "image-classification")
    images = images_of_every_mode()
    assert {image.mode for image in images} == {*GREY_MODES, *COLOUR_MODES}
    paths = [tmp_path / f"{at}.tiff" for at in range(len(images))]
    for at, (image, path) in enumerate(zip(images, paths, strict=True)):
        if image.mode == "P" and "transparency" in image.info:
            paths[at] = path.with_suffix(".png")
        image.save(paths[at])
    got = script["preprocess"](paths)["pixel_values"]
    np.testing.assert_allclose(got, preprocess(images)["pixel_values"], atol=1e-6)


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "YCbCr"])
def test_modes_that_no_model_was_measured_with_are_refused(mode, tmp_path):
    preprocess = ImagePreprocessor(Transform(size=(6, 6), channels=3))
    script = script_of(stored(preprocess, tmp_path), "image-classification")
    path = tmp_path / "image.tiff"
    image = Image.new(mode, (5, 4))
    image.save(path)
    with pytest.raises(DataError, match=f"Got an image of mode {mode}"):
        preprocess([Image.open(path)])
    with pytest.raises(SystemExit, match=f"image.tiff holds an image of mode {mode}, which"):
        script["preprocess"]([path])


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_image_is_one_sentence(content, tmp_path):
    script = script_of(stored(ImagePreprocessor(), tmp_path), "image-classification")
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(SystemExit, match=r"image\.png can't be read as an image"):
        script["preprocess"]([path])


@pytest.mark.parametrize("frames", ["gif", "webp", "png"])
def test_of_several_frames_the_first_counts(frames, tmp_path):
    preprocess = ImagePreprocessor(Transform(channels=3))
    script = script_of(stored(preprocess, tmp_path), "image-classification")
    first, second = Image.new("RGB", (6, 5), (255, 0, 0)), Image.new("RGB", (6, 5), (0, 0, 255))
    path = tmp_path / f"image.{frames}"
    first.save(path, save_all=True, append_images=[second])
    got = script["preprocess"]([path])["pixel_values"]
    np.testing.assert_allclose(got, preprocess([Image.open(path)])["pixel_values"], atol=1e-6)
    assert got[0, 0].min() > 0.9


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    final=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    crops=st.booleans(),
    resample=st.sampled_from(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]),
)
def test_sizes_and_crops_of_all_kinds(tmp_path_factory, size, final, crops, resample):
    folder = tmp_path_factory.mktemp("sizes")
    transform = Transform(
        size=final,
        resize_shortest_edge=max(final) + 2 if crops else None,
        resample=resample,
        channels=3,
        rescale=1 / 127,
        mean=(0.1, 0.2, 0.3),
        std=(0.5, 0.6, 0.7),
    )
    script = script_of(stored(ImagePreprocessor(transform), folder), "image-classification")
    image = Image.fromarray(noise(*size, 3))
    image.save(folder / "image.png")
    got = script["preprocess"]([folder / "image.png"])["pixel_values"]
    np.testing.assert_allclose(got, transform([image]), atol=1e-5)


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("truncation", ["left", "right"])
@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("task", TASKS_OF_TEXTS)
def test_texts_are_cut_and_padded_on_the_same_sides(task, special, truncation, padding, tmp_path):
    tokenizer = word_level(special=special, truncation_side=truncation, padding_side=padding)
    preprocessor = TextPreprocessor(tokenizer)
    script = script_of(stored(preprocessor, tmp_path), task)
    if task == "token-classification":
        words = [text.split() for text in TEXTS]
        encodings, firsts = preprocessor.encode_words(words)
        wanted = preprocessor.pad(encodings)
        got, theirs = script["preprocess"](words)
        for first, found, row in zip(firsts, theirs, got["attention_mask"], strict=True):
            start = int(row.argmax())
            assert found == {word: start + at for at, word in enumerate(first) if word >= 0}
    else:
        wanted = preprocessor(TEXTS)
        got = script["preprocess"](TEXTS)
    assert got.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(got[name], values)


@pytest.mark.parametrize("truncation", ["left", "right"])
@pytest.mark.parametrize("task", ["text-classification", "feature-extraction"])
def test_pairs_are_cut_as_when_measured(task, truncation, tmp_path):
    preprocessor = TextPreprocessor(word_level(truncation_side=truncation))
    script = script_of(stored(preprocessor, tmp_path, pairs=True), task)
    wanted = preprocessor(*zip(*PAIRS, strict=True))
    got = script["preprocess"](PAIRS)
    for name, values in wanted.items():
        np.testing.assert_array_equal(got[name], values)
    assert got["token_type_ids"].any()


@pytest.mark.parametrize("split", [True, False])
def test_special_tokens_in_a_text_are_read_as_when_measured(split, tmp_path):
    preprocessor = TextPreprocessor(word_level(split_special_tokens=split))
    script = script_of(stored(preprocessor, tmp_path), "text-classification")
    wanted = preprocessor(["a[SEP] b"])["input_ids"]
    np.testing.assert_array_equal(script["preprocess"](["a[SEP] b"])["input_ids"], wanted)
    assert (wanted.tolist()[0].count(3) == 2) is not split


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_becomes_the_same_tokens(unicode_bundles, text):
    for preprocessor, script in unicode_bundles:
        wanted = preprocessor.encode([text])[0]["input_ids"]
        if not wanted:
            with pytest.raises(SystemExit, match="no answer to a text without a token"):
                script["preprocess"]([text])
            continue
        assert script["preprocess"]([text])["input_ids"].tolist() == [wanted]


@pytest.fixture(scope="module")
def unicode_bundles(tmp_path_factory):
    """(preprocessor, script) of a word piece and of a byte-level tokenizer."""
    from transformers import BertTokenizer

    from compress.data.spec import Vocabulary
    from compress.data.vocabulary.train import train_tokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", "##a", "e", "é", "中"]
    bert = BertTokenizer(vocab={word: at for at, word in enumerate(dict.fromkeys(words))})
    bert.model_max_length = 20
    options = Vocabulary(vocab_size=300)
    made = []
    for tokenizer in (bert, train_tokenizer(["a bc é"], options, generates=False, max_length=20)):
        folder = tmp_path_factory.mktemp("unicode")
        preprocessor = TextPreprocessor(tokenizer)
        made.append((preprocessor, script_of(stored(preprocessor, folder), "text-classification")))
    return made


@pytest.mark.parametrize("task", ["text-classification", "feature-extraction"])
@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_a_text_without_a_token_is_one_sentence(task, text, tmp_path):
    preprocessor = TextPreprocessor(word_level(special=False))
    script = script_of(stored(preprocessor, tmp_path), task)
    with pytest.raises(SystemExit, match="There is no answer to a text without a token"):
        script["preprocess"](["a", text])


def test_no_words_are_one_sentence(tmp_path):
    preprocessor = TextPreprocessor(word_level(special=False))
    script = script_of(stored(preprocessor, tmp_path), "token-classification")
    with pytest.raises(SystemExit, match="There is no answer to a text without a token"):
        script["preprocess"]([[]])


def test_half_a_surrogate_pair_is_one_sentence(tmp_path):
    script = script_of(stored(TextPreprocessor(word_level()), tmp_path), "text-classification")
    with pytest.raises(SystemExit, match="A text isn't valid Unicode"):
        script["preprocess"](["a \ud800"])
