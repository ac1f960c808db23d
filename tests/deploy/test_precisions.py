"""A bundle of several precisions: each of them in every runtime, and which of them is taken."""

import itertools
import json

import numpy as np
import pytest

from compress.exporting.bundle.precisions import HALF_WORDS, INT8_WORDS, PATHS, chosen, table
from tests.deploy import bundles as deploy_bundles
from tests.deploy import test_browser as browser
from tests.deploy import test_openvino as openvino
from tests.deploy import test_optimum as optimum
from tests.deploy import test_transformers_js as transformers_js
from tests.deploy.bundles import deployed, texts, write_images
from tests.deploy.places import PLACE, node, printed, python_of, run_program, run_script, shipped

PRECISIONS = ("fp32", "fp16", "int8", "storage", "q4")
DTYPES = {"fp32": "fp32", "fp16": "fp16", "int8": "q8", "q4": "q4"}
"""Names of precisions in Transformers.js; stored weights have none."""
VNNI = "flags : sse2 avx2 avx512f avx512_vnni"
AVX2 = "flags : sse2 avx2"


@pytest.fixture(scope="module")
def text_folder():
    return shipped(deploy_bundles.bert(PLACE / "runs", precisions=PRECISIONS))


@pytest.fixture(scope="module")
def image_folder():
    return shipped(deploy_bundles.digits(PLACE / "runs", precisions=PRECISIONS))


@pytest.fixture(scope="module", params=PRECISIONS)
def text(request, text_folder):
    """A precision of a text classifier, with our own answers."""
    return request.param, _in_precision(text_folder, texts(), request.param)


@pytest.fixture(scope="module", params=PRECISIONS)
def image(request, image_folder):
    """A precision of an image classifier, with our own answers."""
    inputs = write_images(PLACE / "images")
    return request.param, _in_precision(image_folder, inputs, request.param)


def _in_precision(folder, inputs, precision):
    quantized = precision != "fp32"
    return deployed(folder, inputs, quantized=quantized, file=PATHS[precision])


def _printed(program, bundle, precision, tmp_path):
    asked = ["--precision", precision, "--top", len(bundle.labels)]
    return printed(run_program([*program, *asked, *bundle.inputs], folder=tmp_path))


@pytest.fixture(scope="module", params=["text", "image"])
def either(request, text_folder, image_folder):
    if request.param == "text":
        return text_folder, texts()
    return image_folder, write_images(PLACE / "images")


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_the_precisions_answer_alike(precision, either):
    folder, inputs = either
    whole, other = (_in_precision(folder, inputs, each) for each in ("fp32", precision))
    classes = [each.probabilities.argmax(-1) for each in (whole, other)]
    assert np.mean(classes[0] == classes[1]) >= 0.99


def test_texts_in_python(text, tmp_path):
    precision, bundle = text
    program = [python_of("plain"), "-I", bundle.folder / "infer.py"]
    bundle.require_same(_printed(program, bundle, precision, tmp_path))


def test_images_in_python(image, tmp_path):
    precision, bundle = image
    program = [python_of("plain"), "-I", bundle.folder / "infer.py"]
    bundle.require_same(_printed(program, bundle, precision, tmp_path))


def test_texts_in_node(text, tmp_path):
    precision, bundle = text
    program = [node(), bundle.folder / "infer.mjs"]
    bundle.require_same(_printed(program, bundle, precision, tmp_path))


def test_images_in_node(image, tmp_path):
    precision, bundle = image
    program = [node(), bundle.folder / "infer.mjs"]
    bundle.require_same(_printed(program, bundle, precision, tmp_path))


def test_texts_in_a_browser(text, tmp_path):
    precision, bundle = text
    asked = f"?precision={precision}&provider=wasm"
    seen = browser.shown(bundle.folder, bundle.inputs, tmp_path, asked=asked)
    path = PATHS[precision]
    assert seen["ready"] == f"Ready. precision: {precision} ({path}, wasm), asked for"
    bundle.require_same([dict(one["rows"]) for one in seen["found"]])


def test_images_in_a_browser(image, tmp_path):
    precision, bundle = image
    found = browser.used(
        bundle.folder, bundle.inputs, tmp_path, asked=f"?precision={precision}&provider=wasm"
    )
    bundle.require_same([dict(one["rows"]) for one in found])


def test_texts_in_transformers_js(text, tmp_path):
    precision, bundle = text
    named = {"dtype": "fp32", "model_file_name": "model_storage"}
    loading = {"dtype": DTYPES[precision]} if precision in DTYPES else named
    short = transformers_js.uncut(bundle)
    inputs = list(itertools.compress(bundle.inputs, short))
    found = transformers_js.use(
        bundle.folder, "text-classification", inputs, tmp_path, loading=loading, top_k=None
    )
    bundle.require_same(transformers_js.scores(found), only=short)


def test_texts_in_optimum(text, tmp_path):
    precision, bundle = text
    found = optimum.answers("texts", bundle.folder, bundle.inputs, tmp_path, file=PATHS[precision])
    bundle.require_same(found)


def test_texts_in_openvino(text, tmp_path):
    precision, bundle = text
    if precision == "q4":  # its embeddings are 48 wide, and have blocks of 32
        with pytest.raises(AssertionError, match="must be a multiple of block_size"):
            openvino.answers(bundle, tmp_path, file=PATHS[precision])
        return
    bundle.require_same(openvino.answers(bundle, tmp_path, file=PATHS[precision]))


def test_images_in_openvino(image, tmp_path):
    precision, bundle = image
    bundle.require_same(openvino.answers(bundle, tmp_path, file=PATHS[precision]))


@pytest.mark.parametrize(("cpuinfo", "precision"), [(VNNI, "int8"), (AVX2, "storage")])
def test_node_takes_a_precision_by_flags(cpuinfo, precision, text_folder, tmp_path):
    faked = tmp_path / "faked.mjs"
    faked.write_text(
        'import fs from "node:fs"; import { syncBuiltinESMExports } from "node:module";\n'
        "const read = fs.readFileSync;\n"
        "fs.readFileSync = (path, ...more) =>\n"
        f'  path === "/proc/cpuinfo" ? {json.dumps(cpuinfo)} : read(path, ...more);\n'
        "syncBuiltinESMExports();\n"
    )
    told = tmp_path / "told.mjs"
    told.write_text(
        f"const {{ open }} = await import({json.dumps(str(text_folder / 'session.mjs'))});\n"
        "console.error = (line) => console.log(line);\n"
        "await open({});\n"
    )
    said = run_program([node(), "--import", faked, told], folder=tmp_path)
    assert said == f"precision: {precision} ({PATHS[precision]}, cpu), chosen for this CPU\n"


def test_the_page_takes_stored_weights_without_a_gpu(text_folder, tmp_path):
    seen = browser.shown(text_folder, texts()[:3], tmp_path)
    path = PATHS["storage"]
    assert seen["ready"] == f"Ready. precision: storage ({path}, wasm), chosen for this CPU"


def test_python_and_javascript_read_the_rules_alike(text_folder, tmp_path):
    cases = [
        {"table": table(some), "provider": provider, "words": words}
        for size in (1, 2, 5)
        for some in itertools.permutations(PRECISIONS, size)
        for provider in ("cpu", "gpu")
        for words in ([], ["avx2"], [INT8_WORDS[0]], ["x", INT8_WORDS[-1]], [HALF_WORDS[0]])
    ]
    given = {"module": str(text_folder / "precisions.mjs"), "cases": cases}
    theirs = run_script(node(), "node/choose.mjs", given, tmp_path)
    ours = [
        chosen(one["table"], provider=one["provider"], words=set(one["words"])) for one in cases
    ]
    assert theirs == ours
