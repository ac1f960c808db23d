"""Language models, and a graph with every form of a weight, as ONNX files."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from compress.exporting.to_onnx import export_module
from compress.tasks.task import task

TOKENS = {"vocab_size": 96, "bos_token_id": 0, "eos_token_id": 0}


def llama():
    return LlamaForCausalLM(
        LlamaConfig(
            **TOKENS,
            hidden_size=64,
            intermediate_size=88,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=32,
            tie_word_embeddings=True,
        )
    )


def gpt2():
    return GPT2LMHeadModel(GPT2Config(**TOKENS, n_embd=40, n_head=2, n_layer=1, n_positions=32))


def bert():
    config = BertConfig(
        hidden_size=48,
        num_attention_heads=2,
        intermediate_size=72,
        num_hidden_layers=1,
        vocab_size=96,
        max_position_embeddings=32,
        num_labels=3,
    )
    return BertForSequenceClassification(config)


def batch():
    ids = torch.randint(0, 96, (2, 9))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def export_language_model(make, path):
    torch.manual_seed(0)
    module = make().eval()
    generates = make is not bert
    export_module(
        module,
        task=task("text-generation" if generates else "text-classification"),
        example=batch(),
        path=path,
        labels=() if generates else ("a", "b", "c"),
    )
    return path


def every_form(path, *, width=48):
    """An embedding, tied to a head behind a Transpose, and Gemms of several kinds."""
    rng = np.random.default_rng(0)

    def constant(name, *shape):
        values = rng.standard_normal(shape).astype(np.float32) / max(1, shape[-1]) ** 0.5
        return numpy_helper.from_array(values, name)

    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"], name="embed"),
        helper.make_node("Gemm", ["x", "plain", "bias"], ["a"], name="gemm"),
        helper.make_node("Gemm", ["a", "turned", "column"], ["b"], name="gemm_turned", transB=1),
        helper.make_node("Gemm", ["b", "scaled"], ["c"], name="gemm_scaled", alpha=0.5),
        helper.make_node("Transpose", ["table"], ["head"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["c", "head"], ["y"], name="head_product"),
    ]
    weights = [
        constant("table", 20, width), constant("plain", width, 24), constant("bias", 24),
        constant("turned", width, 24), constant("column", 1, 1), constant("scaled", width, width),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "forms",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 20])],
        weights,
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path
