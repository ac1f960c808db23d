"""`compress verify` and `compress bench` as they are typed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.cli import main
from compress.exporting.bundle.manifest import entry, manifest_text
from compress.exporting.bundle.samples import write_samples


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs the command in this process: (exit code, stdout, stderr)."""
    monkeypatch.setattr("compress.cli.app.silence_libraries", lambda: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def linear(path, *, classes=3):
    """(N, 4) float to (N, classes)."""
    weights = np.random.default_rng(0).normal(size=(4, classes)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "features"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    model = linear(folder / "model.onnx")
    samples = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
    write_samples(model, [{"x": samples}], folder)
    (folder / "labels.json").write_text('["a", "b", "c"]')
    files = {path.name: entry(path) for path in folder.iterdir()}
    manifest = {"task": "image-classification", "files": files}
    (folder / "manifest.json").write_text(manifest_text(manifest))
    return folder


def test_a_bundle_that_holds_is_exit_code_0(command, bundle):
    code, out, err = command("verify", bundle)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines if not line.startswith(" ")][:-1] == [
        *(["ok", name] for name in ("files", "model", "answers")),
        ["warning", "example"],
        *(["ok", name] for name in ("labels", "shapes", "CPU")),
    ]
    assert "not run: the bundle keeps no raw samples" in out
    assert out.replace("\n", "").endswith("bundle: all checks passed, 1 warning")


def test_a_changed_file_is_exit_code_1(command, bundle):
    (bundle / "labels.json").write_text('["a", "b", "d"]')
    code, out, err = command("verify", bundle)
    assert (code, err) == (1, "")
    assert "FAILED   files    labels.json has other contents" in out
    assert out.replace("\n", "").endswith("1 check failed, 1 warning")


def test_warnings_leave_exit_code_0(command, bundle):
    (bundle / "extra.txt").write_text("")
    code, out, _ = command("verify", bundle)
    assert code == 0
    assert "warning  files    not in the manifest: extra.txt" in out
    assert "all checks passed, 2 warnings" in out.replace("\n", "")


def test_no_bundle_is_exit_code_2(command, tmp_path):
    code, out, err = command("verify", tmp_path)
    assert (code, out) == (2, "")
    assert "is no bundle: it has no manifest.json" in err


def test_models_are_timed_and_the_figures_written(command, tmp_path):
    files = [linear(tmp_path / name) for name in ("one.onnx", "two.onnx")]
    figures = tmp_path / "figures.json"
    code, out, err = command(
        "bench", *files, "--batch-sizes", "1,3", "--set", "features=4", "--seconds", 0.01,
        "--json", figures,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "1 thread:" in out
    assert out.count("one.onnx") == out.count("two.onnx") == 2
    assert "Inputs: x 4 float32 (normal numbers)." in out
    timings = json.loads(figures.read_text())["timings"]
    assert [(each["model"], each["batch_size"]) for each in timings] == [
        ("one.onnx", 1), ("two.onnx", 1), ("one.onnx", 3), ("two.onnx", 3),
    ]  # fmt: skip


def test_a_bundles_samples_serve_as_inputs(command, bundle):
    code, out, _ = command(
        "bench", bundle / "model.onnx", "--inputs", bundle / "samples.npz", "--batch-sizes", "2",
        "--seconds", 0.01,
    )  # fmt: skip
    assert code == 0
    assert "Inputs: 8 given samples, repeated to a batch." in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--set features=SIZE"),
        (["--batch-sizes", "1;2"], "'--batch-sizes' must be whole numbers with commas between"),
        (["--threads", "0"], "'threads' must be different whole numbers from 1 on"),
        (["--set", "features"], "'--set' must be AXIS=SIZE"),
        (["--inputs", "model.onnx"], "can't read the inputs"),
        (["--inputs", "missing.npz"], "can't read the inputs"),
    ],
)
def test_bad_options_are_exit_code_2(command, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    linear(Path("model.onnx"))
    code, out, err = command("bench", "model.onnx", *options)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize("name", ["verify", "bench"])
def test_help_imports_nothing_heavy(name):
    script = (
        "import sys\nfrom compress.cli import main\n"
        f"try:\n    main(['{name}', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
