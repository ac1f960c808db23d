"""Times files in one of Python's runtimes: python time_python.py RUNTIME ROUNDS FILE …"""

import json
import os
import sys
import time

import numpy as np

runtime, rounds, *files = sys.argv[1:]
os.environ["OMP_NUM_THREADS"] = "1"


def opened(file):
    """A function that runs a file on inputs by name."""
    if runtime == "openvino":
        import openvino

        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        compiled = openvino.Core().compile_model(file, "CPU", settings)
        return [one.get_any_name() for one in compiled.inputs], compiled
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return [one.name for one in session.get_inputs()], lambda inputs: session.run(None, inputs)


ids = np.arange(5, 69, dtype=np.int64)[None]
values = {
    "input_ids": ids,
    "attention_mask": np.ones_like(ids),
    "token_type_ids": np.zeros_like(ids),
}
models, load = [], []
for file in files:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        names, use = opened(file)
        seconds.append(time.perf_counter() - start)
    models.append((use, {name: values[name] for name in names}))
    load.append(min(seconds))
taken = [[] for _ in files]
order = np.random.default_rng(0)
for number in range(int(rounds) + 3):
    for at in order.permutation(len(files)):
        use, inputs = models[at]
        start = time.thread_time() if runtime == "onnxruntime" else time.perf_counter()
        use(inputs)
        end = time.thread_time() if runtime == "onnxruntime" else time.perf_counter()
        if number >= 3:
            taken[at].append(end - start)
print(json.dumps({"load": load, "median": [float(np.median(one)) for one in taken]}))
