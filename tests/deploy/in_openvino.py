"""Answers with OpenVINO; runs in the environment of requirements-openvino.txt.

python in_openvino.py MODEL.onnx INPUTS.npz LOGITS.npy

INPUTS.npz holds "<number>.<input name>" for each input.
"""

import sys
from collections import defaultdict

import numpy as np
import openvino

model, inputs, logits = sys.argv[1:]
# On CPUs with bfloat16 it would compute in that.
settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
compiled = openvino.Core().compile_model(model, "CPU", settings)
by_number = defaultdict(dict)
for key, array in np.load(inputs).items():
    number, name = key.split(".", 1)
    by_number[int(number)][name] = array
rows = [compiled(by_number[number])[0] for number in sorted(by_number)]
np.save(logits, np.concatenate(rows))
