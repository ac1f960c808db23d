"""What is other in the example scripts of a bundle with several precisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PYTHON_PARTS: Mapping[str, Sequence[str]] = {
    "open_session": ("can_saturate", "open_precision", "first_output"),
    "encode_texts": ("encode_texts",),
}
"""Parts that several scripts share, each of some templates."""
NODE_PARTS: Mapping[str, str] = {
    "session.mjs": "session_precisions.mjs",
    "precisions.mjs": "precisions.mjs",
}
JAVASCRIPT_PARTS: Mapping[str, str] = {**NODE_PARTS, "web.mjs": "web.mjs"}
"""Templates by name in the bundle: without a page, and with one."""
_PARSED = "    given = parser.parse_args()\n"
_WASM = '"onnxruntime-web/wasm": "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs"'
_CREATED = 'session: await ort.InferenceSession.create("model.onnx"),'
_CHANGES: Mapping[str, Sequence[tuple[Sequence[str], str]]] = {
    "infer.py": [
        (
            [_PARSED],
            '    parser.add_argument("--precision", help="one of precisions.json; by default what '
            f'suits")\n{_PARSED}    global PRECISION\n    PRECISION = given.precision\n',
        ),
    ],
    "infer.mjs": [
        (["await open()"], "await open(values)"),
        (
            ["  options: { "],
            '  options: { precision: { type: "string" }, provider: { type: "string" }, ',
        ),
    ],
    "index.html": [
        ([_WASM], f"{_WASM},\n    {_WASM.replace('wasm', 'webgpu')}"),
        (['import * as ort from "onnxruntime-web/wasm";\n'], ""),
        (
            ['import { FILES, answer } from "./model.mjs";\n'],
            'import { FILES, answer } from "./model.mjs";\nimport { open } from "./web.mjs";\n',
        ),
        ([f"    ort,\n    {_CREATED}", f"ort, {_CREATED}"], "...(await open()),"),
        (['status.textContent = "Ready.";'], "status.textContent = `Ready. ${model.said}`;"),
    ],
}
"""By file, texts (one of which it has) with what stands in their place."""


def with_precision(name: str, text: str) -> str:
    """Return the text of an example that chooses among a bundle's precisions.

    Parameters
    ----------
    name : its name in the bundle.
    text : the example for a bundle with one precision.
    """
    for olds, new in _CHANGES.get(name, ()):
        old = next(one for one in olds if one in text)
        text = text.replace(old, new)
    return text
