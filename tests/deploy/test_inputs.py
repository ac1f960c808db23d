"""What Python makes of an input, Node makes of it too, or refuses."""

import json
import subprocess

import numpy as np
import pytest
from PIL import Image

from compress.data.images.transform import ImagePreprocessor, Transform
from compress.data.spec import Vocabulary
from compress.data.texts.encode import TextPreprocessor
from compress.data.vocabulary.train import train_tokenizer
from compress.exporting.bundle.write import write_bundle
from compress.exporting.examples.write import write_examples
from compress.exporting.to_onnx import export_module
from compress.models.resnet import resnet
from compress.tasks.task import TASKS
from tests.deploy.places import NODE_MODULES, node, printed, python_of, run_program, run_script

TEXTS = [
    *("a", "a b c d e f g h a b c d", "h g f e d c b", "[SEP] a", "a[MASK]b", "", " "),
    *("é e\u0301", "\u00c5 A\u030a \uff21", "中文 a", "\U0001f642", "a\u200d\U0001f469"),
    *("a\u200bb\u00a0c", "\u01c5 \u0130 ß", "a\x00b", "a\tb\nc", "ñ" * 30),
]
PAIRS = [
    ["a b", "c"], ["a b c d e f g", "a b"], ["a", "a b c d e f g h"], ["a b c d e", "e d c b a"],
    ["b", ""], ["", "b"],
]  # fmt: skip
BERT_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "##a", "##b", "中", "ss"]


def tokenizer_of(kind):
    if kind == "bert":
        from transformers import BertTokenizer

        tokenizer = BertTokenizer(vocab={word: at for at, word in enumerate(BERT_WORDS)})
        tokenizer.model_max_length = 8
        return tokenizer
    if kind == "bytes":
        options = Vocabulary(vocab_size=300)
        return train_tokenizer(["a bc é"], options, generates=False, max_length=8)
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({w: at for at, w in enumerate(BERT_WORDS)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=8,
        **{"pad_token": "[PAD]", "unk_token": "[UNK]"},
    )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", ["bert", "bytes", "words"])
def test_tokens_are_the_same(kind, side, tmp_path):
    tokenizer = tokenizer_of(kind)
    tokenizer.truncation_side = side
    preprocessor = TextPreprocessor(tokenizer)
    folder = tmp_path / "bundle"
    preprocessor.save(folder)
    write_examples(folder, task=TASKS["text-classification"])
    for texts in (TEXTS, PAIRS):
        single = isinstance(texts[0], str)
        wanted = [
            preprocessor.encode([text]) if single else preprocessor.encode([text[0]], [text[1]])
            for text in texts
        ]
        given = {"folder": str(folder), "texts": texts}
        found = run_script(node(), "node/tokens.mjs", given, tmp_path)
        for text, (ours,), theirs in zip(texts, wanted, found, strict=True):
            if not ours["input_ids"]:
                assert theirs == {"error": "There is no answer to a text without a token."}
                continue
            assert theirs["ids"] == ours["input_ids"], text
            if "token_type_ids" in ours:
                assert theirs["types"] == ours["token_type_ids"], text


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """An untrained classifier's bundle, and images of all orientations, formats and modes."""
    import torch

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("pictures")
    module = resnet(blocks=(1, 1), width=4, in_channels=3, num_classes=3).train()
    with torch.no_grad():
        module(torch.randn(16, 3, 12, 20))
    module.fc.weight.data *= 5
    task = TASKS["image-classification"]
    preprocessor = ImagePreprocessor(Transform(size=(12, 20), channels=3, mean=(0.5,) * 3))
    example = preprocessor(np.zeros((2, 5, 5, 3), np.uint8))
    path = export_module(
        module.eval(), task=task, example=example, path=place / "model.onnx", labels=("x", "y", "z")
    )
    model = write_bundle(
        path,
        directory=place / "bundle",
        preprocessor=preprocessor,
        labels=("x", "y", "z"),
        task=task,
    )
    (model.parent / "node_modules").symlink_to(NODE_MODULES)
    return model.parent, _images(place)


def _images(place):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    picture = Image.fromarray(np.kron(pixels, np.ones((8, 8, 1), np.uint8)))
    paths = []
    for orientation in range(1, 9):
        for kind, options in (
            ("jpg", {"quality": 95, "subsampling": 0}),
            ("png", {}),
            ("webp", {"lossless": True}),
            ("tif", {}),
        ):
            exif = Image.Exif()
            exif[0x0112] = orientation
            paths.append(place / f"{orientation}.{kind}")
            picture.save(paths[-1], exif=exif, **options)
    alpha = Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 40), np.uint8))
    rgba, la = picture.copy(), picture.convert("L")
    rgba.putalpha(alpha)
    la.putalpha(alpha)
    seen = picture.quantize(8)
    seen.info["transparency"] = 3
    modes = [picture.convert(mode) for mode in ("1", "L", "P")]
    for at, image in enumerate((*modes, rgba, la, seen)):
        paths.append(place / f"mode{at}.png")
        image.save(paths[-1])
    other = place / "frames.gif"
    picture.quantize(8).save(other, save_all=True, append_images=[Image.new("RGB", picture.size)])
    return [*paths, other]


def test_images_are_read_the_same_way(pictures, tmp_path):
    folder, paths = pictures
    programs = ([python_of("plain"), "-I", folder / "infer.py"], [node(), folder / "infer.mjs"])
    ours, theirs = (
        printed(run_program([*program, "--top", 3, *paths], folder=tmp_path))
        for program in programs
    )
    assert len(ours) == len(paths)
    for path, one, other in zip(paths, ours, theirs, strict=True):
        assert other == {label: pytest.approx(value, abs=2e-3) for label, value in one.items()}, (
            path
        )
    assert len({json.dumps(one) for one in ours[:32:4]}) == 8


def test_images_that_pillow_reads_otherwise_are_refused(pictures, tmp_path):
    folder, _ = pictures
    picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    cmyk, deep, broken = tmp_path / "cmyk.jpg", tmp_path / "deep.png", tmp_path / "broken.png"
    picture.convert("CMYK").save(cmyk)
    Image.new("I;16", (4, 4)).save(deep)
    broken.write_bytes(b"no image")
    for path in (cmyk, deep, broken):
        ended = subprocess.run(
            [node(), folder / "infer.mjs", path], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"{path} can't be read as an image: ")
        assert len(ended.stderr.splitlines()) == 1
