"""sentence-transformers with its ONNX backend, on a bundle as it stands."""

import numpy as np

from tests.deploy.bundles import texts
from tests.deploy.places import python_of, run_program, run_script


def test_vectors_of_texts(embeddings_bundle, tmp_path):
    sentences = [*texts()[:40], *texts()[-2:]]  # the last are longer than the model's length
    program = [python_of("plain"), "-I", embeddings_bundle / "infer.py", "--save", "vectors.npy"]
    run_program([*program, *sentences], folder=tmp_path)
    ours = np.load(tmp_path / "vectors.npy")
    (file,) = (embeddings_bundle / "onnx").iterdir()
    given = {"folder": str(embeddings_bundle), "inputs": sentences}
    for name in ("model.onnx", f"onnx/{file.name}"):
        script = "in_sentence_transformers.py"
        found = run_script(python_of("optimum"), script, {**given, "file": name}, tmp_path)
        assert np.abs(found - ours).max() < _allowed(file.stem)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6


def _allowed(stem):
    """`dynamic` takes 8-bit scales from a whole batch, and batches aren't the same."""
    return 0.05 if stem == "model_quantized" else 1e-5
