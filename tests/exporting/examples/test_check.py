"""A bundle's script answers raw samples as the model was measured, or that is told."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from compress.data.images.transform import ImagePreprocessor, Transform
from compress.data.raw import RawSamples
from compress.data.texts.encode import TextPreprocessor
from compress.errors import ParityError, StageError
from compress.exporting.bundle.samples import read_samples, write_samples
from compress.exporting.bundle.write import write_bundle
from compress.exporting.examples import check as example_check
from compress.exporting.examples.check import compared, run_example
from compress.exporting.examples.tried import tried
from compress.exporting.examples.write import example_script
from compress.exporting.to_onnx import export_module
from compress.models.resnet import resnet
from compress.tasks.task import TASKS
from tests.exporting.examples.inputs import word_level
from tests.exporting.samples import LABELS

TEXTS = ("a b", "c", "h g f e d c b a a a b c", "a [UNK] b")
PAIRS = (["a b", "c"], ["a b c d e f g", "a b"], ["a", "a b c d e f g h"])
WORDS = (["a", "b"], ["c"], list("hgfedcbaaabc"))


TEXT_MODELS = {
    "text-classification": "bert",
    "multi-label-text-classification": "bert",
    "token-classification": "tokens",
    "text-generation": "llama",
    "feature-extraction": "encoder",
    "sentence-similarity": "sentences",
}


def image_model():
    torch.manual_seed(0)
    module = resnet(blocks=(1, 1), width=4, in_channels=3, num_classes=3).train()
    with torch.no_grad():
        module(torch.randn(16, 3, 12, 20))
    module.fc.weight.data *= 5
    return module.eval()


def photographs():
    """JPEG files of which all are turned."""
    files = []
    for orientation in (3, 6, 8, 5):
        exif = Image.Exif()
        exif[0x0112] = orientation
        packed = io.BytesIO()
        pixels = np.random.default_rng(orientation).integers(0, 256, (3, 5, 3), np.uint8)
        Image.fromarray(np.kron(pixels, np.ones((8, 8, 1), np.uint8))).save(
            packed, "JPEG", exif=exif
        )
        files.append(packed.getvalue())
    return tuple(files)


@pytest.fixture(scope="module")
def exported(exported_model, tmp_path_factory):
    """A task's ONNX file. One classifier serves both tasks of classes."""
    image = tmp_path_factory.mktemp("exported") / "image.onnx"

    def exported(task, batch):
        if TASKS[task].modality == "text":
            return exported_model(TEXT_MODELS[task])[1]
        if not image.exists():
            export_module(image_model(), task=TASKS[task], example=batch, path=image, labels=LABELS)
        return image

    return exported


@pytest.fixture
def made(exported, tmp_path):
    def made(task, **options):
        return make(tmp_path, task, exported, **options)

    return made


def make(folder, task, exported, *, kind=None, **options):
    """(model.onnx in its bundle, raw samples, the batch that they become, preprocessor)."""
    found = TASKS[task]
    if found.modality == "image":
        preprocessor = ImagePreprocessor(Transform(size=(12, 20), channels=3, mean=(0.5,) * 3))
        raw = RawSamples("image", photographs())
        batch = preprocessor([Image.open(io.BytesIO(file)) for file in raw.values])
    else:
        preprocessor = TextPreprocessor(word_level(**{"eos_token": "[SEP]"}, **options))
        by_task = {"token-classification": "words", "text-generation": "prompt"}
        kind = kind or by_task.get(task, "text")
        raw = RawSamples(kind, {"words": WORDS, "pair": PAIRS}.get(kind, TEXTS))
        if kind == "words":
            batch = preprocessor.pad(preprocessor.encode_words(raw.values)[0])
        elif kind == "pair":
            batch = preprocessor(*zip(*raw.values, strict=True))
        else:
            batch = preprocessor(raw.values)
        if task == "text-generation":
            del batch["token_type_ids"]
            preprocessor.input_names = ("input_ids", "attention_mask")
    labels = LABELS if found.target not in ("none", "next-token") else ()
    model = write_bundle(
        exported(task, batch),
        directory=folder / "bundle",
        preprocessor=preprocessor,
        labels=labels,
        task=found,
        pairs=kind == "pair",
    )
    return model, raw, batch, preprocessor


def attempt(task, model, raw, batch, preprocessor):
    return tried(model, raw, batch, preprocessor=preprocessor, task=TASKS[task])


@pytest.mark.parametrize("task", TASKS)
def test_every_tasks_script_answers_as_measured(task, tmp_path, made):
    bundle = made(task, truncation_side="left", padding_side="left")
    kept, (note,) = attempt(task, *bundle)
    assert note.startswith(f"infer.py on {len(kept.values)} raw samples: ")
    assert len(kept.values) >= 2
    write_samples(bundle[0], [bundle[2]], tmp_path, raw=kept)
    again = read_samples(tmp_path / "samples.npz").raw
    assert (again.kind, again.values) == (kept.kind, kept.values)
    np.testing.assert_array_equal(again.answers, kept.answers)
    assert len(np.unique(kept.answers)) > 1


@pytest.mark.parametrize("task", ["text-classification", "feature-extraction"])
def test_pairs_are_answered_as_pairs(task, tmp_path, made):
    model, *others = made(task, kind="pair")
    assert json.loads((model.parent / "preprocessing.json").read_text())["pairs"] is True
    kept, (note,) = attempt(task, model, *others)
    assert kept.values == PAIRS
    assert "3 raw samples: largest difference" in note


@pytest.mark.parametrize("task", ["image-classification", "token-classification"])
def test_a_bundles_script_runs_in_a_process_of_its_own(task, tmp_path, made):
    bundle = made(task)
    kept, _ = attempt(task, *bundle)
    found = run_example(bundle[0].parent, kept, task=TASKS[task], precision="fp32")
    assert (found.name, found.status) == ("example", "ok"), found.text
    other = replace(kept, answers=kept.answers[::-1])
    found = run_example(bundle[0].parent, other, task=TASKS[task], precision="fp32")
    assert found.status == "failed"


@pytest.mark.parametrize(
    ("task", "ours", "other"),
    [
        ("image-classification", "ImageOps.exif_transpose(Image.open(path))", "Image.open(path)"),
        ("text-classification", ', direction=constants["truncation_side"]', ""),
        ("token-classification", ', direction=constants["truncation_side"]', ""),
        ("text-generation", "tokenizer.encode(prompt).ids", "tokenizer.encode(prompt).ids[1:]"),
    ],
)
def test_a_script_that_does_less_is_no_bundles(task, ours, other, tmp_path, monkeypatch, made):
    bundle = made(task, truncation_side="left")
    script = example_script(TASKS[task])
    assert ours in script
    monkeypatch.setattr(
        example_check, "example_script", lambda *_, **__: script.replace(ours, other)
    )
    with pytest.raises(ParityError, match="makes other inputs of the raw samples than were meas"):
        attempt(task, *bundle)


def test_a_script_that_answers_otherwise_or_fails(tmp_path, monkeypatch, made):
    task = "multi-label-text-classification"
    bundle = made(task)
    script = example_script(TASKS[task])
    sigmoid = 'if read("postprocessing.json")["activation"] == "sigmoid":'
    assert sigmoid in script
    for changed, error, said in (
        (script.replace(sigmoid, "if False:"), ParityError, "doesn't answer as the model was"),
        ("raise SystemExit('no')", StageError, r"infer\.py ended the program"),
        ("x = 1 / 0", StageError, r"infer\.py failed: .*division by zero"),
    ):
        monkeypatch.setattr(example_check, "example_script", lambda *_, text=changed, **__: text)
        with pytest.raises(error, match=said):
            attempt(task, *bundle)


def test_what_cant_be_tried_is_said(tmp_path, monkeypatch, made):
    task = "image-classification"
    model, raw, batch, preprocessor = made(task)
    monkeypatch.setattr("compress.exporting.examples.tried.LARGEST", 10)
    kept, (note,) = attempt(task, model, raw, batch, preprocessor)
    assert kept is None
    assert note == "infer.py wasn't tried: a raw sample is larger than 10 bytes"
    constants = model.parent / "preprocessing.json"
    constants.write_text(json.dumps(json.loads(constants.read_text()) | {"exact": False}))
    kept, (note,) = attempt(task, model, raw, batch, preprocessor)
    assert kept is None
    assert note.startswith("infer.py takes preprocessed arrays alone")


def test_an_edited_script_isnt_run(tmp_path, made):
    task = "text-classification"
    model, raw, *others = made(task)
    kept, _ = attempt(task, model, raw, *others)
    script = model.parent / "infer.py"
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + script.read_text())
    found = run_example(model.parent, kept, task=TASKS[task], precision="fp32")
    assert found.status == "warning"
    assert found.text.startswith("not run: it isn't the infer.py that compress ")
    assert not (tmp_path / "ran").exists()
    script.unlink()
    assert run_example(model.parent, kept, task=TASKS[task], precision="fp32").status == "warning"


def test_a_script_has_a_time_limit_and_one_line_of_what_it_said(tmp_path, monkeypatch, made):
    task = "text-classification"
    model, raw, *others = made(task)
    kept, _ = attempt(task, model, raw, *others)
    broken = replace(kept, values=("a", ""), answers=kept.answers[:2])
    (model.parent / "tokenizer.json").write_text("{}")
    found = run_example(model.parent, broken, task=TASKS[task], precision="fp32")
    assert found.status == "failed"
    assert found.text.startswith("infer.py fails on the raw samples: ")
    assert "\n" not in found.text
    monkeypatch.setattr(example_check, "SECONDS", 0.01)
    found = run_example(model.parent, kept, task=TASKS[task], precision="fp32")
    assert found.text == "infer.py fails on the raw samples: it took longer than 0.01 s"


@pytest.mark.parametrize(
    ("precision", "factor", "same"),
    [
        ("fp32", 1.0005, True),
        ("fp32", 1.005, False),
        ("fp16", 1.005, True),
        ("int8", 1.04, True),
        ("int8", 1.1, False),
    ],
)
def test_tolerances(precision, factor, same):
    wanted = np.ones((2, 3))
    assert compared(wanted * factor, wanted, target="class", precision=precision)[0] is same
    assert not compared(wanted[:1], wanted, target="class", precision=precision)[0]


def test_classes_of_words_are_the_same_or_not():
    wanted = np.arange(40)
    got = np.where(wanted == 3, 7, wanted)
    assert compared(wanted, wanted, target="token-class") == (
        True,
        "100% of the words have the same class",
    )
    assert not compared(got, wanted, target="token-class")[0]
    assert compared(got, wanted, target="token-class", precision="int8")[0]
