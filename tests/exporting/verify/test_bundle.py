"""A bundle holds; whatever is changed in it is told."""

import itertools
import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compress.errors import InputError
from compress.exporting.bundle.manifest import entry, manifest_text
from compress.exporting.verify import bundle as verify
from compress.exporting.verify.apart import verify_apart
from compress.exporting.verify.bundle import verify_bundle
from compress.measurement.cpu import TARGET_KEY, FoundCpu
from compress.onnx_graph.files import load_graph
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.quantization.write import move
from compress.tasks.task import TASKS
from tests.exporting.bundle.maker import DIGITS, digits_bundle, published
from tests.exporting.samples import LABELS, texts

OLD_CPU = FoundCpu("x86-avx2", "it has AVX2, but no VNNI")
NEW_CPU = FoundCpu("x86-vnni", "it has avx512_vnni")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return digits_bundle(tmp_path_factory.mktemp("digits") / "run")


@pytest.fixture
def bundle(made, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "this_cpu", lambda: NEW_CPU)
    return shutil.copytree(made, tmp_path / "run")


@pytest.fixture(scope="module", params=[False, True], ids=["8 bits", "7 bits"])
def int8(request, exported_bert, tmp_path_factory):
    """A text model's INT8 bundle: (7 bits, folder)."""
    _, path = exported_bert
    folder = tmp_path_factory.mktemp("int8")
    quantize_dynamic(
        path,
        path=folder / "int8.onnx",
        selection=select(load_graph(path), method="dynamic"),
        integers=Integers(reduce_range=request.param),
    )
    model = folder / "model.onnx"
    target = "x86-avx2" if request.param else "x86-vnni"
    move(folder / "int8.onnx", model, metadata={TARGET_KEY: target})
    task = TASKS["text-classification"]
    run = published(folder / "run", model=model, batch=texts(8, 10, padding=2), task=task)
    return request.param, run


def found(folder):
    return [(check.name, check.status, check.text) for check in verify_bundle(folder)]


def failures(folder):
    return [(name, text) for name, status, text in found(folder) if status == "failed"]


def manifest_of(folder):
    """What the manifest says, but its digest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["digest"]
    return manifest


def published_again(folder, **files):
    """The manifest as if the files now there had been published, but for the entries given."""
    manifest = manifest_of(folder)
    manifest["files"] = {name: entry(folder / name) for name in manifest["files"]} | files
    (folder / "manifest.json").write_text(manifest_text(manifest))


def test_a_whole_bundle_holds(bundle):
    checks = found(bundle)
    assert [(name, status) for name, status, _ in checks] == [
        (name, "ok") for name in ("files", "model", "answers", "example", "labels", "shapes", "CPU")
    ]
    said = {name: text for name, _, text in checks}
    count = len(json.loads((bundle / "manifest.json").read_text())["files"])
    assert said["files"] == f"{count} of {count} have the size and SHA-256 they had"
    assert said["answers"].startswith("8 stored samples: largest difference 0.0e+00 (at most ")
    assert "100% as the uncompressed model's (100% when published)" in said["answers"]
    assert said["example"].startswith("infer.py on 8 raw samples: largest difference ")
    assert said["labels"] == "10 names for answers of width 10"
    assert said["shapes"] == "runs at batch 1, batch 3"


def test_preprocessing_that_isnt_the_measured_one_is_found(bundle):
    path = bundle / "preprocessing.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rescale": 1 / 8}))
    published_again(bundle)
    ((name, text),) = failures(bundle)
    assert name == "example"
    assert "infer.py on 8 raw samples: largest difference" in text


def test_a_script_of_others_never_runs(bundle):
    ran = bundle / "ran"
    (bundle / "infer.py").write_text(f"open({str(ran)!r}, 'w')")
    published_again(bundle)
    checks = {name: (status, text) for name, status, text in found(bundle)}
    assert checks["example"][0] == "warning"
    assert checks["example"][1].startswith("not run: it isn't the infer.py that compress ")
    assert not ran.exists()


def test_files_that_arent_as_they_were(bundle):
    (bundle / "infer.py").unlink()
    (bundle / "labels.json").write_text((bundle / "labels.json").read_text() + " ")
    lock = bundle / "recipe.lock.yaml"
    lock.write_bytes(lock.read_bytes().replace(b"small", b"smalL"))
    (bundle / "notes.txt").write_text("mine")
    checks = [(status, text) for name, status, text in found(bundle) if name == "files"]
    assert ("failed", "infer.py is missing") in checks
    assert any("labels.json has " in text and "bytes, and had" in text for _, text in checks)
    assert any("recipe.lock.yaml has other contents" in text for _, text in checks)
    assert checks[-1] == ("warning", "not in the manifest: notes.txt")
    assert sum(status == "failed" for status, _ in checks) == 3


def test_a_broken_model_ends_it(bundle):
    model = bundle / "model.onnx"
    model.write_bytes(model.read_bytes()[:-2000])
    names = [name for name, _ in failures(bundle)]
    assert names == ["files", "model", "answers"]


def test_a_missing_model_ends_it(bundle):
    (bundle / "model.onnx").unlink()
    assert failures(bundle) == [
        ("files", "model.onnx is missing"),
        ("answers", "not tried: the model can't be loaded"),
    ]


def test_other_weights_give_other_answers(bundle):
    model = onnx.load(bundle / "model.onnx")
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.1, tensor.name))
    onnx.save(model, bundle / "model.onnx")
    published_again(bundle)
    (name, text), (other, _) = failures(bundle)
    assert (name, other) == ("answers", "example")
    assert "largest difference" in text


def test_labels_that_dont_fit(bundle):
    for names, said in (
        ([*DIGITS, "ten"], "labels.json has 11 names, and the model's metadata others"),
        ({"0": "zero"}, "'labels.json' must be a list of names. Got {'0': 'zero'}."),
    ):
        (bundle / "labels.json").write_text(json.dumps(names))
        published_again(bundle)
        assert failures(bundle) == [("labels", said)]


def test_samples_that_cant_be_read_or_arent_there(bundle):
    (bundle / "samples.npz").write_bytes(b"nothing")
    published_again(bundle)
    names = [name for name, text in failures(bundle) if "can't read the samples" in text]
    assert "answers" in names
    manifest = manifest_of(bundle)
    del manifest["files"]["samples.npz"]
    (bundle / "manifest.json").write_text(manifest_text(manifest))
    (bundle / "samples.npz").unlink()
    checks = {name: (status, text) for name, status, text in found(bundle)}
    assert checks["answers"] == ("warning", "not compared: the bundle has no samples.npz")
    assert checks["shapes"] == ("ok", "runs at batch 1, batch 3")


def test_a_text_model_runs_at_another_length(int8):
    _, folder = int8
    checks = {name: (status, text) for name, status, text in found(folder)}
    assert checks["shapes"] == ("ok", "runs at batch 1, batch 3, length 6")
    assert "answers differ by 0.0% (at most 2%)" in checks["answers"][1]
    assert checks["labels"][1] == f"{len(LABELS)} names for answers of width {len(LABELS)}"


def test_full_range_weights_are_a_warning_on_a_cpu_that_can_saturate(int8, monkeypatch):
    seven_bits, folder = int8
    monkeypatch.setattr(verify, "this_cpu", lambda: OLD_CPU)
    *others, (name, status, text) = found(folder)
    assert name == "CPU"
    assert not [status for _, status, _ in others if status == "failed"]
    if seven_bits:
        assert status == "ok"
        assert text.startswith("quantized for x86-avx2; this CPU is x86-avx2")
    else:
        assert status == "warning"
        assert text.startswith("quantized for x86-vnni; this CPU is x86-avx2 (it has AVX2")
        assert "can saturate" in text
    monkeypatch.setattr(verify, "this_cpu", lambda: NEW_CPU)
    assert found(folder)[-1][1] == "ok"


@pytest.mark.parametrize(
    ("factor", "status", "part"),
    [(1.01, "ok", "1.0"), (1.04, "warning", "3.8"), (1.1, "failed", "9.1")],
)
def test_int8_answers_that_rounding_doesnt_explain(int8, tmp_path, factor, status, part):
    """Stored answers stand for another CPU's."""
    folder = shutil.copytree(int8[1], tmp_path / "run")
    with np.load(folder / "samples.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays["answers/logits"] = arrays["answers/logits"] * factor
    np.savez(folder / "samples.npz", **arrays)
    published_again(folder)
    (said,) = [(status, text) for name, status, text in found(folder) if name == "answers"]
    assert said[0] == status
    assert f"answers differ by {part}%" in said[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "it has no manifest.json that can be read"),
        ("{", "is no JSON object"),
        ("", "is no JSON object"),
        ("[]", "is no JSON object"),
        ("[" * 5000, "is no JSON object"),
        ("\x00\x01", "is no JSON object"),
        ("{}", "names no model.onnx"),
        ('{"files": ["model.onnx"]}', "names no model.onnx"),
        ('{"files": {"a": {}}}', "names no model.onnx"),
    ],
)
def test_what_is_no_bundle(tmp_path, content, said):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="is no bundle") as error:
        list(verify_bundle(tmp_path))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "written by a later version of compress: it has schema 2, and this"),
        ({"schema": 10**4000}, "written by a later version of compress: it has schema 1000"),
        ({"schema": "1"}, "'schema' must be 1. Got '1'"),
        ({"nmae": "small"}, "unknown key 'nmae'. Known: cpu, digest, "),
        ({"digest": None}, "has no key 'digest'"),
        ({"task": None}, "has no key 'task'"),
    ],
)
def test_manifests_that_are_refused(bundle, change, said):
    manifest = json.loads((bundle / "manifest.json").read_text()) | change
    left = {key: value for key, value in manifest.items() if value is not None}
    (bundle / "manifest.json").write_text(json.dumps(left))
    with pytest.raises(InputError) as error:
        found(bundle)
    assert said in str(error.value)
    assert len(str(error.value)) < 1000


def test_every_byte_of_the_manifest_counts(bundle):
    path = bundle / "manifest.json"
    content = path.read_bytes()
    whole = json.loads(content)
    step = max(1, len(content) // 150)
    for place in range(0, len(content), step):
        flipped = bytearray(content)
        flipped[place] ^= 0x02
        path.write_bytes(flipped)
        try:
            checks = list(itertools.islice(verify_bundle(bundle), 1))
        except InputError:
            continue
        assert checks[0].status == "failed" or json.loads(flipped) == whole
        assert "manifest.json isn't as it was written" in checks[0].text or checks[0].status == "ok"


@pytest.mark.parametrize("wrong", [None, "abc", [1], {}, {"sha256": 1, "bytes": "x"}, 7])
def test_entries_that_say_nothing(bundle, wrong):
    published_again(bundle, **{"infer.py": wrong})
    ((name, text),) = failures(bundle)
    assert name == "files"
    assert text.startswith("infer.py must have its bytes and sha256 there. It has ")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/x", "'/x' is an absolute path"),
        ("../outside", "'../outside' leads out of"),
        ("a/../../outside", "leads out of"),
        ("C:\\x", "is an absolute path"),
        ("", "'' is no file name"),
        (".", "leads out of"),
        ("a\0b", "is no file name"),
        ("x" * 5000, "is no file name"),
        ("y" * 300, "File name too long"),
        ("linked/secret.onnx", "leads out of"),
    ],
)
def test_names_that_lead_out_of_the_bundle_are_refused(bundle, name, said, monkeypatch):
    """What lies outside is neither listed nor opened."""
    outside = bundle.parent / "outside"
    outside.mkdir()
    (outside / "secret.onnx").write_text("x")
    (bundle / "linked").symlink_to(outside)
    opened = []
    monkeypatch.setattr(verify, "check_file", opened.append)
    published_again(bundle, **{name: {"bytes": 1, "sha256": ""}})
    checks = found(bundle)
    text = " ".join(text for _, _, text in checks)
    ((_, failed),) = [(name, text) for name, status, text in checks if status == "failed"]
    assert said in failed
    assert len(failed) < 1000
    assert opened == [bundle / "model.onnx"]
    assert "secret.onnx" not in text.replace("linked/secret.onnx", "")


def test_a_manifest_that_is_a_link_is_no_manifest(bundle):
    manifest = bundle / "manifest.json"
    manifest.symlink_to(manifest.rename(bundle.parent / "manifest.json"))
    with pytest.raises(InputError, match="is a link"):
        found(bundle)


def test_a_model_that_never_answers_is_ended(made, tmp_path):
    run = shutil.copytree(made, tmp_path / "run")
    model = onnx.load(run / "model.onnx")
    [answer] = model.graph.output
    last = next(node for node in model.graph.node if answer.name in node.output)
    last.output[list(last.output).index(answer.name)] = "before"
    value = onnx.helper.make_tensor_value_info
    truth, number = onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT
    body = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Identity", ["c"], ["c2"]),
            onnx.helper.make_node("Identity", ["v"], ["v2"]),
        ],
        "body",
        [value("i", onnx.TensorProto.INT64, []), value("c", truth, []), value("v", number, None)],
        [value("c2", truth, []), value("v2", number, None)],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
    model.graph.node.append(
        onnx.helper.make_node("Loop", ["", "true", "before"], [answer.name], body=body)
    )
    onnx.save(model, run / "model.onnx")
    published_again(run)
    last_check = list(verify_apart(run, call_seconds=1))[-1]
    assert last_check.status == "failed"
    assert "took longer than 1 " in last_check.text
