"""Ranks documents with sentence-transformers; runs in the environment of requirements-optimum.txt.

python in_cross_encoder.py ASKED.json ANSWERED.json
"""

import json
import sys
from pathlib import Path

from sentence_transformers import CrossEncoder
from torch import nn

asked, answered = map(Path, sys.argv[1:])
given = json.loads(asked.read_text(encoding="utf-8"))
model = CrossEncoder(
    given["folder"],
    backend="onnx",
    max_length=given["length"],
    activation_fn=nn.Identity(),
    model_kwargs={"file_name": "model.onnx"},
)
found = []
for query, documents in given["asked"]:
    # One pair a call: products of 8 bits have scales of the whole batch.
    scores = [
        float(model.predict([(query, text)], show_progress_bar=False)[0]) for text in documents
    ]
    found.append(sorted(zip(documents, scores, strict=True), key=lambda one: -one[1]))
answered.write_text(json.dumps(found), encoding="utf-8")
