"""Tokens a second of an untrained Llama that doesn't fit the caches, by how its weights are held.

    python benchmarks/generation.py [--prompt 64] [--answer 32] [--seconds 60]
    python benchmarks/generation.py --llama-cpp ENVIRONMENT/bin/python

The model has 67 M parameters (268 MB in fp32). All forms read the same prompt and decode their own
greedy answer with the key-value cache, in interleaved rounds, on one thread by the thread's own
clock. `--llama-cpp` names the interpreter of an environment with llama-cpp-python and gguf
(`pip install llama-cpp-python gguf` builds it from source): the same weights are then written as
GGUF, quantized by llama.cpp, and timed in the same rounds, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from compress.exporting.to_onnx import export_module
from compress.measurement.cpu import this_cpu
from compress.measurement.generation.decoder import OnnxDecoder
from compress.measurement.intervals import median_ratio
from compress.onnx_graph.files import load_graph
from compress.quantization.cpu import integers_for
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.selection import select
from compress.quantization.storage.store import store_weights
from compress.quantization.weight_only.graph import WeightOnly
from compress.quantization.weight_only.quantize import quantize_weights
from compress.tasks.task import TASKS

SIZES = {
    "vocab_size": 16_000, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 6,
    "num_attention_heads": 12, "num_key_value_heads": 12, "max_position_embeddings": 1024,
    "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
LEAST_ROUNDS = 5
RIVALS = {
    "fp32": "fp32", "storage": "fp32", "dynamic": "Q8_0", "8-bit": "Q8_0", "4-bit": "Q4_0",
    "4-bit symmetric": "Q4_0",
}  # fmt: skip
"""The form of llama.cpp's with as many bits."""
WORDS = {
    "storage": "weights stored in 8 bits", "dynamic": "dynamic INT8", "8-bit": "8-bit weights",
    "4-bit": "4-bit weights", "4-bit symmetric": "4-bit weights, no zero points",
}  # fmt: skip
WORKER = Path(__file__).with_name("generation_llama_cpp.py")
Nanoseconds = tuple[int, float]
"""Of the prompt, and of a token after it."""


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, initializer_range=0.05)).eval()


def export(module: LlamaForCausalLM, path: Path) -> None:
    ids = torch.randint(1, SIZES["vocab_size"], (2, 8))
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    task = TASKS["text-generation"]
    export_module(module, task=task, example=example, path=path, labels=())


def forms(source: Path, folder: Path) -> dict[str, Path]:
    made = {name: folder / f"{name}.onnx" for name in WORDS}
    store_weights(source, path=made["storage"], bits=8)
    quantize_dynamic(
        source,
        path=made["dynamic"],
        selection=select(load_graph(source), method="dynamic"),
        integers=integers_for(this_cpu().target, method="dynamic")[0],
    )
    for bits in (8, 4):
        quantize_weights(source, path=made[f"{bits}-bit"], options=WeightOnly(bits=bits))
    symmetric = WeightOnly(bits=4, symmetric=True)
    quantize_weights(source, path=made["4-bit symmetric"], options=symmetric)
    return {"fp32": source, **made}


class Ours:
    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        self.decoder = OnnxDecoder(path)

    def generate(self, prompt: list[int], answer: int) -> tuple[Nanoseconds, list[int]]:
        self.decoder.begin()
        start = time.thread_time_ns()
        tokens = [self.decoder.read(prompt)]
        read = time.thread_time_ns()
        for _ in range(answer):
            tokens.append(self.decoder.read(tokens[-1:]))
        return (read - start, (time.thread_time_ns() - read) / answer), tokens


class LlamaCpp:
    """One GGUF file, in a process of the other environment."""

    def __init__(self, python: str, path: Path) -> None:
        self.size = path.stat().st_size
        self.process = subprocess.Popen(
            [python, str(WORKER), "serve", str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def generate(self, prompt: list[int], answer: int) -> tuple[Nanoseconds, list[int]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps({"prompt": prompt, "answer": answer}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the process with llama.cpp ended")
        found = json.loads(line)
        return (found["prefill_ns"], found["decoding_ns"]), found["tokens"]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def in_llama_cpp(python: str, module: LlamaForCausalLM, folder: Path) -> dict[str, LlamaCpp]:
    """The same weights as GGUF in fp32, and in 8 and 4 bits as llama.cpp quantizes them."""
    weights = folder / "weights.npz"
    np.savez(weights, **{name: value.numpy() for name, value in module.state_dict().items()})
    sizes = SIZES | {"rms_norm_eps": module.config.rms_norm_eps}
    (folder / "sizes.json").write_text(json.dumps(sizes), encoding="utf-8")
    subprocess.run([python, str(WORKER), "convert", str(folder)], check=True)
    names = {"f32": "fp32", "q8_0": "Q8_0", "q4_0": "Q4_0"}
    return {
        f"llama.cpp {name}": LlamaCpp(python, folder / f"{kind}.gguf")
        for kind, name in names.items()
    }


def rounds(
    models: dict[str, Any], prompt: list[int], answer: int, seconds: float
) -> tuple[dict[str, np.ndarray], dict[str, list[int]]]:
    """Milliseconds (rounds, 2) of each model, and the tokens that it decodes."""
    random = np.random.default_rng(0)
    answers = {name: each.generate(prompt, answer)[1] for name, each in models.items()}
    found: dict[str, list[Nanoseconds]] = {name: [] for name in models}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(next(iter(found.values()))) < LEAST_ROUNDS:
        for name in random.permutation(list(models)):
            found[name].append(models[name].generate(prompt, answer)[0])
    return {name: np.array(each) / 1e6 for name, each in found.items()}, answers


def table(times: dict[str, np.ndarray], models: dict[str, Any], length: int) -> None:
    print("| model | size | prefill | decoding | against fp32 | against llama.cpp |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, runs in times.items():
        prefill, step = np.median(runs, axis=0)
        kind = RIVALS.get(name)
        rival = times.get(f"llama.cpp {kind}")
        cells = [
            WORDS.get(name, name),
            f"{models[name].size / 1e6:.1f} MB",
            f"{1000 * length / prefill:.0f} tokens/s",
            f"{1000 / step:.1f} tokens/s",
            "1" if name == "fp32" else ratio(times["fp32"], runs),
            "-" if rival is None else f"{ratio(rival, runs)} ({kind})",
        ]
        print(f"| {' | '.join(cells)} |")


def ratio(slow: np.ndarray, fast: np.ndarray) -> str:
    """How much faster decoding is, with a 95 % interval."""
    value, (low, high) = median_ratio(slow[:, 1], fast[:, 1], seed=0)
    return f"{value:.2f}x {low:.2f}-{high:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Tokens a second by how weights are held.")
    parser.add_argument("--prompt", type=int, default=64, help="tokens of the prompt")
    parser.add_argument("--answer", type=int, default=32, help="tokens of the answer")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for the rounds")
    parser.add_argument("--llama-cpp", metavar="PYTHON", help="an interpreter with llama_cpp, gguf")
    parser.add_argument("--folder", type=Path, help="keep the files here, and use those in it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        module, source = model(), folder / "fp32.onnx"
        if not source.exists():
            export(module, source)
        models: dict[str, Any] = {n: Ours(path) for n, path in forms(source, folder).items()}
        others = in_llama_cpp(given.llama_cpp, module, folder) if given.llama_cpp else {}
        del module
        random = np.random.default_rng(1)
        prompt = [int(token) for token in random.integers(1, SIZES["vocab_size"], given.prompt)]
        times, answers = rounds(models | others, prompt, given.answer, given.seconds)
        count = len(next(iter(times.values())))
        print(
            f"{this_cpu()}, 1 thread; a prompt of {given.prompt} tokens, an answer of "
            f"{given.answer}; {count} rounds"
        )
        table(times, models | others, given.prompt)
        if others:
            same = answers["fp32"] == answers["llama.cpp fp32"]
            print(f"The fp32 files {'decode the same' if same else 'DIFFER in their'} tokens.")
        for each in others.values():
            each.close()


if __name__ == "__main__":
    main()
