"""index.html in Chromium, with onnxruntime-web: used as a person would use it."""

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.places import HERE, PLACE, browser, node, run_program

SHOTS = PLACE / "screenshots"


@contextmanager
def served(folder):
    """The folder on this machine, served as the page itself says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    server = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await(port)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(10)


def _await(port):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server doesn't answer")


def used(folder, inputs, tmp_path, *, asked=""):
    """What the page shows of inputs; a picture of it is kept in .deploy/screenshots/.

    `asked` : what stands behind the page's address.
    """
    return shown(folder, inputs, tmp_path, asked=asked)["found"]


def shown(folder, inputs, tmp_path, *, asked=""):
    """All that `node/browser.mjs` writes of the page."""
    SHOTS.mkdir(exist_ok=True)
    script = PLACE / "npm" / "browser.mjs"
    script.write_text((HERE / "node" / "browser.mjs").read_text(), encoding="utf-8")
    given = tmp_path / "inputs.json"
    given.write_text(json.dumps(inputs), encoding="utf-8")
    with served(folder) as address:
        command = [
            node(),
            script,
            address + asked,
            given,
            "shown.json",
            SHOTS / f"{folder.name}.png",
        ]
        run_program(command, folder=tmp_path, CHROMIUM=browser())
    seen = json.loads((tmp_path / "shown.json").read_text(encoding="utf-8"))
    assert seen["elsewhere"] == [], "the page needs nothing from any other place"
    assert " ms." in seen["said"]
    return seen


def test_texts(text_bundle, tmp_path):
    found = used(text_bundle.folder, text_bundle.inputs, tmp_path)
    assert [one["name"] for one in found] == list(text_bundle.inputs)
    text_bundle.require_same([dict(one["rows"]) for one in found])


def test_images(image_bundle, tmp_path):
    found = used(image_bundle.folder, image_bundle.inputs, tmp_path)
    assert [one["name"] for one in found] == [Path(path).name for path in image_bundle.inputs]
    image_bundle.require_same([dict(one["rows"]) for one in found])


def test_images_that_are_resized(vit_bundle, tmp_path):
    found = used(vit_bundle.folder, vit_bundle.inputs, tmp_path)
    vit_bundle.require_same([dict(one["rows"]) for one in found])


def test_vectors_of_texts(embeddings_bundle, tmp_path):
    sentences = ["Return a copy of it.", "Open a file."]
    found = used(embeddings_bundle, sentences, tmp_path)
    assert [one["rows"][0][0] for one in found] == sentences
    assert [one["rows"][0][1] for one in found] == [1.0, 1.0]
