"""Vectors by sentence-transformers; runs in the environment of requirements-optimum.txt.

python in_sentence_transformers.py ASKED.json ANSWERED.json
"""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer

asked, answered = map(Path, sys.argv[1:])
given = json.loads(asked.read_text(encoding="utf-8"))
model = SentenceTransformer(
    given["folder"],
    backend="onnx",
    local_files_only=True,
    model_kwargs={"file_name": given["file"], "provider": "CPUExecutionProvider"},
)
vectors = model.encode(given["inputs"], batch_size=4)
answered.write_text(json.dumps(vectors.tolist()), encoding="utf-8")
