"""The part of generation.py that runs in an environment with llama-cpp-python, gguf and numpy.

    python generation_llama_cpp.py convert FOLDER   writes f32.gguf, q8_0.gguf and q4_0.gguf there
    python generation_llama_cpp.py serve FILE       reads a prompt a line, and answers with times

FOLDER holds a Llama's weights under transformers' names (weights.npz) and its sizes (sizes.json).
"""

import ctypes
import json
import sys
import time
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

CONTEXT = 1024
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name: str) -> str:
    """llama.cpp's name of a tensor."""
    stem = name.removesuffix(".weight")
    if stem in OUTER:
        return f"{OUTER[stem]}.weight"
    layer, part = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{NAMES[part]}.weight"


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows in llama.cpp's order: its rotation pairs neighbours, that of transformers halves."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def write_gguf(folder: Path, path: Path) -> None:
    sizes = json.loads((folder / "sizes.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(sizes["max_position_embeddings"])
    writer.add_embedding_length(sizes["hidden_size"])
    writer.add_block_count(sizes["num_hidden_layers"])
    writer.add_feed_forward_length(sizes["intermediate_size"])
    writer.add_head_count(sizes["num_attention_heads"])
    writer.add_head_count_kv(sizes["num_key_value_heads"])
    writer.add_rope_dimension_count(sizes["hidden_size"] // sizes["num_attention_heads"])
    writer.add_layer_norm_rms_eps(sizes["rms_norm_eps"])
    writer.add_vocab_size(sizes["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("no_vocab")
    heads = {"q_proj": sizes["num_attention_heads"], "k_proj": sizes["num_key_value_heads"]}
    with np.load(folder / "weights.npz") as weights:
        for name in weights:
            value, part = weights[name], name.split(".")[-2]
            if part in heads:
                value = interleaved(value, heads[part])
            writer.add_tensor(gguf_name(name), np.ascontiguousarray(value))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def quantize(source: Path, path: Path, kind: int) -> None:
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = kind, 1
    failed = llama_cpp.llama_model_quantize(
        str(source).encode(), str(path).encode(), ctypes.byref(params)
    )
    if failed:
        raise SystemExit(f"llama.cpp can't write {path}")


def convert(folder: Path) -> None:
    source = folder / "f32.gguf"
    write_gguf(folder, source)
    quantize(source, folder / "q8_0.gguf", llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0)
    quantize(source, folder / "q4_0.gguf", llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0)


class Model:
    """One GGUF file, on one thread."""

    def __init__(self, path: str) -> None:
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(
            path.encode(), llama_cpp.llama_model_default_params()
        )
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = CONTEXT
        params.n_threads = params.n_threads_batch = 1
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.tokens = llama_cpp.llama_vocab_n_tokens(vocabulary)

    def begin(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def read(self, tokens: list[int]) -> int:
        given = (llama_cpp.llama_token * len(tokens))(*tokens)
        batch = llama_cpp.llama_batch_get_one(given, len(tokens))
        if llama_cpp.llama_decode(self.context, batch):
            raise SystemExit("llama.cpp can't read these tokens")
        scores = llama_cpp.llama_get_logits_ith(self.context, -1)
        return int(np.ctypeslib.as_array(scores, (self.tokens,)).argmax())


def serve(path: str) -> None:
    model = Model(path)
    for line in sys.stdin:
        given = json.loads(line)
        model.begin()
        start = time.thread_time_ns()
        tokens = [model.read(given["prompt"])]
        read = time.thread_time_ns()
        for _ in range(given["answer"]):
            tokens.append(model.read(tokens[-1:]))
        decoding = (time.thread_time_ns() - read) / given["answer"]
        found = {"prefill_ns": read - start, "decoding_ns": decoding, "tokens": tokens}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    command, where = sys.argv[1:]
    if command == "convert":
        convert(Path(where))
    else:
        serve(where)
