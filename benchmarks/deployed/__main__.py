"""Speed of a text model's files against the first of them, in each runtime of `make test-deploy`.

    .venv/bin/python benchmarks/deployed fp32.onnx storage.onnx …

The files take input_ids and attention_mask, and perhaps token_type_ids, of one text of 64 tokens.
In each runtime, every round runs each file once, on one thread; a ratio is that of the medians. The
time to load a file is the least of three. Needs what `make test-deploy` installs into .deploy/.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.deploy.places import PLACE, browser, node, python_of
from tests.deploy.test_browser import served

HERE = Path(__file__).resolve().parent
ROUNDS = 60


def in_python(environment, runtime, files):
    """Seconds by file in a Python runtime, as `time_python.py` prints them."""
    return printed([python_of(environment), HERE / "time_python.py", runtime, ROUNDS, *files])


def in_node(files):
    """Seconds by file in onnxruntime-node; packages are looked for beside the script."""
    script = PLACE / "npm" / "time_node.mjs"
    script.write_text((HERE / "time_node.mjs").read_text())
    return printed([node(), script, ROUNDS, *files])


def in_browser(files, provider):
    """Seconds by file in onnxruntime-web, in Chromium without a window."""
    script = PLACE / "npm" / "time_browser.mjs"
    script.write_text((HERE / "time_browser.mjs").read_text())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "node_modules").symlink_to(PLACE / "npm" / "node_modules")
        (folder / "index.html").write_text((HERE / "page.html").read_text())
        for number, file in enumerate(files):
            (folder / f"{number}.onnx").symlink_to(Path(file).resolve())
        with served(folder) as address:
            command = [node(), script, browser(), address, provider, ROUNDS, len(files)]
            return printed(command)


def printed(command):
    """What a program prints as JSON: {"load": [seconds], "median": [seconds]}, by file."""
    ended = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        return {"failed": (ended.stderr.strip() or "?").splitlines()[-1][:200]}
    return json.loads(ended.stdout.splitlines()[-1])


def main(files):
    runtimes = {
        "onnxruntime 1.32, Python": lambda: in_python("plain", "onnxruntime", files),
        "onnxruntime 1.27, Optimum's": lambda: in_python("optimum", "onnxruntime", files),
        "onnxruntime-node 1.30": lambda: in_node(files),
        "onnxruntime-web 1.30, wasm": lambda: in_browser(files, "wasm"),
        "OpenVINO 2026.4": lambda: in_python("openvino", "openvino", files),
    }
    names = [Path(file).stem for file in files]
    print("| runtime |", " | ".join(f"{name} | load" for name in names), "|")
    print("| --- |", " | ".join("--- | ---" for _ in names), "|")
    for runtime, work in runtimes.items():
        found = work()
        if "failed" in found:
            print(f"| {runtime} | {found['failed']} |")
            continue
        first = found["median"][0]
        cells = [
            f"{first / median:.2f}x | {1000 * load:.0f} ms"
            for median, load in zip(found["median"], found["load"], strict=True)
        ]
        print(f"| {runtime} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
