"""Runs a bundle's example script on raw inputs. It needs only numpy, and is a program too.

As a program it reads a request as JSON from standard input: "script" (the text to run), "folder"
(the bundle), "target" (the kind of a sample's label), "samples" (raw inputs; images as paths) and
"to" (the .npz file to write). A bundle with several precisions needs "precision".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, Any]


def example_answers(
    script: str, folder: Path, *, target: str, samples: Sequence[Any], precision: str | None = None
) -> Arrays:
    """Return a script's answers to raw inputs.

    Parameters
    ----------
    script : the script's text; it runs as if it lay in the bundle.
    folder : the bundle's folder.
    target : the kind of a sample's label; see `compress.core.context.Target`.
    samples : texts, pairs of texts, lists of words, or paths of image files; for "own"
        mappings of fields, or paths of .npz files.
    precision : the one that it is to take, of a bundle with several.

    Returns
    -------
    answers : probabilities (N, C); classes of all words, -1 for a word without a class; vectors
        (N, H); scores of the next token (N, V); or, for "own", all outputs as one array.
    inputs/… : the model's inputs by name; those of prompts follow one another in one axis.
    """
    given: dict[str, Any] = {"__name__": "infer", "__file__": str(folder / "infer.py")}
    exec(compile(script, "infer.py", "exec"), given)  # noqa: S102 (the package's own text)
    if precision is not None:
        given["PRECISION"] = precision
    if target == "next-token":
        return _next_tokens(given, samples)
    inputs = given["preprocess"](list(samples))
    if target == "token-class":
        inputs = inputs[0]
        classes = [said for row in given["predict"](list(samples)) for said in row]
        answers = np.array([-1 if said is None else said for said in classes], np.int64)
    elif target == "own":
        answers = _joined(list(given["predict"](inputs).values()))
        if "answer" in given:
            json.dumps(given["answer"](list(samples)), allow_nan=False)
    else:
        answers = given["embed" if target == "none" else "predict"](inputs)
    return {"answers": answers, **{f"inputs/{name}": array for name, array in inputs.items()}}


def _joined(outputs: list[Any]) -> Any:
    """Return several outputs as one array, as `compress.tasks.outputs.joined` does."""
    if len(outputs) == 1:
        return outputs[0]
    seconds = {values.shape[1] if values.ndim > 1 else None for values in outputs}
    leading = 2 if len(seconds) == 1 and None not in seconds else 1
    flat = [values.reshape(*values.shape[:leading], -1) for values in outputs]
    return np.concatenate(flat, axis=-1)


def _next_tokens(given: dict[str, Any], prompts: Sequence[str]) -> Arrays:
    constants = given["read"]("preprocessing.json")
    tokenizer = given["tokenizer_of"](constants)
    tokenizer.no_truncation()
    session = given["open_session"]()
    read = [given["read_prompt"](prompt, tokenizer, constants["end"]) for prompt in prompts]
    read = [ids[-constants["max_length"] :] for ids in read]
    scores = [given["step"](session, ids, given["nothing_read"](session), 0)[0] for ids in read]
    return {"answers": np.stack(scores), "inputs/input_ids": np.concatenate(read)}


def _main() -> None:
    request = json.load(sys.stdin)
    found = example_answers(
        request["script"],
        Path(request["folder"]),
        target=request["target"],
        samples=request["samples"],
        precision=request.get("precision"),
    )
    np.savez(request["to"], **found)


if __name__ == "__main__":
    _main()
