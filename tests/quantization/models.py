"""Small models and real inputs for the tests of quantization."""

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from compress.exporting.to_onnx import export_module
from compress.measurement.session import PROVIDERS, run
from compress.models.resnet import resnet
from compress.tasks.task import TASKS


def digits():
    """(images (1797, 1, 8, 8), labels (1797,)), shuffled."""
    data, target = load_digits(return_X_y=True)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    return images[order], torch.tensor(target)[order]


def exact_answers(path, batch):
    """Of ONNX Runtime with 8-bit products that can't saturate, on CPUs without VNNI too.

    With this option, which a run doesn't set, full 8-bit weights are right on every CPU.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=PROVIDERS)
    return next(iter(run(session, batch).values()))


def export_cnn(path, problem, *, epochs=3):
    images, labels = problem
    torch.manual_seed(0)
    module = resnet(blocks=(1, 1), width=8, in_channels=1, num_classes=10).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(epochs):
        for start in range(0, 1400, 50):
            optimizer.zero_grad()
            scores = module(images[start : start + 50])
            nn.functional.cross_entropy(scores, labels[start : start + 50]).backward()
            optimizer.step()
    names = [str(digit) for digit in range(10)]
    example = {"pixel_values": images[:2]}
    task = TASKS["image-classification"]
    return export_module(module.eval(), task=task, example=example, path=path, labels=names)


def export_transformer(path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=200,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        num_labels=3,
        initializer_range=0.2,
    )
    module = BertForSequenceClassification(config).eval()
    task = TASKS["text-classification"]
    return export_module(module, task=task, example=texts(), path=path, labels=["a", "b", "c"])


def texts(count=2, length=9):
    ids = torch.randint(5, 200, (count, length))
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }


TIED_TOKENS = 96


def save_tied(path):
    """An embedding, a linear layer, and a head with the embedding's weight."""
    width, generator = 64, np.random.default_rng(0)
    table = generator.normal(size=(TIED_TOKENS, width)).astype(np.float32)
    table *= np.linspace(0.1, 3, TIED_TOKENS, dtype=np.float32)[:, None]
    weight = generator.normal(size=(width, width)).astype(np.float32) / 8
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="embedding"),
        helper.make_node("MatMul", ["rows", "weight"], ["hidden"], name="linear"),
        helper.make_node("Transpose", ["table"], ["turned"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["hidden", "turned"], ["logits"], name="head"),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "S"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", "S", TIED_TOKENS])
    held = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(nodes, "tied", [ids], [logits], held)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path
