"""One file reads the prompt and every token after it, with what it keeps of those before."""

import numpy as np
import onnx
import pytest
import torch

from compress.errors import ParityError
from compress.exporting.cache import cached_signature, positions
from compress.exporting.parity.compare import check_parity
from compress.exporting.parity.stepwise import stepwise_answers
from compress.measurement.macs.graph import count_macs
from compress.measurement.session import PAST, feed, run, session
from compress.tasks.task import TASKS
from tests.exporting.tasks import SIZES, inputs, layers_of, model_for, task_of

TASK = TASKS["text-generation"]
SLOW = pytest.param("qwen2", marks=pytest.mark.slow)


@pytest.fixture(params=["llama", "gpt2", SLOW])
def exported(request, exported_model):
    return request.param, *exported_model(request.param)


def _full(module, ids, mask):
    with torch.no_grad():
        return module(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False
        ).logits.numpy()


def _caches(outputs):
    return {n.replace("present.", PAST): x for n, x in outputs.items() if n.startswith("present.")}


@pytest.mark.parametrize("padding", [(0,), (3, 1, 0)])
def test_decoding_with_the_cache_equals_the_whole_text_at_every_step(exported, padding):
    name, module, path = exported
    opened = session(path, threads=1)
    prompt, length = 5, 11
    ids = inputs(name, len(padding), length)["input_ids"]
    mask = torch.ones_like(ids)
    for row, count in enumerate(padding):
        mask[row, :count] = 0
    wanted = _full(module, ids, mask)
    outputs = run(opened, {"input_ids": ids[:, :prompt], "attention_mask": mask[:, :prompt]})
    seen = mask[:, :prompt].numpy() > 0
    np.testing.assert_allclose(outputs["logits"][seen], wanted[:, :prompt][seen], atol=1e-4)
    for end in range(prompt + 1, length + 1):
        step = {"input_ids": ids[:, end - 1 : end], "attention_mask": mask[:, :end]}
        outputs = run(opened, step | _caches(outputs))
        np.testing.assert_allclose(outputs["logits"][:, 0], wanted[:, end - 1], atol=1e-4)
    assert {x.shape[2] for x in _caches(outputs).values()} == {length}


def test_parts_read_through_the_cache_equal_the_whole(exported):
    name, module, path = exported
    for length in (1, 2, 7):
        batch = inputs(name, 3, length)
        wanted = _full(module, batch["input_ids"], batch["attention_mask"])
        np.testing.assert_allclose(stepwise_answers(path)(batch), wanted, atol=1e-4)


def test_names_and_axes(exported):
    name, _, path = exported
    graph = onnx.load(path).graph
    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    heads = 4 if name == "gpt2" else 2
    parts = [f"{layer}.{part}" for layer in range(layers_of(name)) for part in ("key", "value")]
    assert axes == {
        "input_ids": ["batch_size", "sequence_length"],
        "attention_mask": ["batch_size", "past_sequence_length + sequence_length"],
        "position_ids": ["batch_size", "sequence_length"],
        **{
            f"past_key_values.{part}": ["batch_size", heads, "past_sequence_length", 4]
            for part in parts
        },
        "logits": ["batch_size", "sequence_length", SIZES["vocab_size"]],
        **{
            f"present.{part}": ["batch_size", heads, "past_sequence_length + sequence_length", 4]
            for part in parts
        },
    }
    assert graph.output[0].name == "logits"


def test_a_wrong_cache_fails_parity(exported_model, tmp_path):
    module, path = exported_model("llama")
    model = onnx.load(path)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["right" if name == "present.0.key" else name for name in names]
    model.graph.node.append(onnx.helper.make_node("Neg", ["right"], ["present.0.key"]))
    broken = tmp_path / "broken.onnx"
    onnx.save(model, broken)
    with pytest.raises(ParityError, match="Only what comes through the cache differs"):
        check_parity(module, broken, task=TASK, batches=[inputs("llama", 2, 8)])


def test_uneven_heads_have_caches_of_their_own_size():
    module = model_for("llama")
    layer = module.model.layers[1].self_attn
    with torch.no_grad():  # one key-value head with its two heads goes
        for part, kept in (("q_proj", 8), ("k_proj", 4), ("v_proj", 4)):
            old = getattr(layer, part)
            new = torch.nn.Linear(16, kept, bias=False)
            new.weight.copy_(old.weight[:kept])
            setattr(layer, part, new)
        layer.o_proj = torch.nn.Linear(8, 16, bias=False)
    form = cached_signature(module, task=TASK, inputs=inputs("llama"))
    shapes = {name: tuple(x.shape[1:2]) for name, x in form.inputs.items() if PAST in name}
    assert shapes == {f"{PAST}{n}.{p}": (2 - n,) for n in (0, 1) for p in ("key", "value")}


def test_what_keeps_no_cache_is_exported_without():
    from transformers import MambaConfig, MambaForCausalLM

    class Counting(torch.nn.Module):
        def forward(self, input_ids, attention_mask, past_key_values=None):
            return input_ids[:, :, None] * 1.0

    batch = inputs("llama")
    mamba = MambaForCausalLM(
        MambaConfig(vocab_size=60, hidden_size=8, num_hidden_layers=1, state_size=2)
    )
    for module in (Counting(), mamba.eval()):
        assert cached_signature(module, task=TASK, inputs=batch) is None
    encoder = model_for("tokens")
    assert cached_signature(encoder, task=task_of("tokens"), inputs=batch) is None


def test_a_batch_gets_empty_caches_and_positions(exported_model):
    _, path = exported_model("gpt2")
    batch = inputs("gpt2", 3, 6, padding=2)
    batch = {name: values.flip(1).numpy() for name, values in batch.items()}
    arrays = feed(session(path, threads=1), batch)
    assert arrays["past_key_values.0.value"].shape == (3, 4, 0, 4)
    assert arrays["position_ids"].tolist() == [[0, 0, 0, 1, 2, 3, 4, 5]] * 3
    last = {"input_ids": batch["input_ids"][:, -1:], "attention_mask": batch["attention_mask"]}
    assert feed(session(path, threads=1), last)["position_ids"].tolist() == [[5]] * 3


def test_macs_are_those_of_the_prompt(exported_model):
    _, path = exported_model("gpt2")
    batch = {name: values.numpy() for name, values in inputs("gpt2", 1, 10).items()}
    width, inner, length, layers = 16, 64, 10, layers_of("gpt2")
    layer = length * (4 * width * width + 2 * width * inner) + 2 * length * length * width
    assert count_macs(path, batch).total == layers * layer + length * width * SIZES["vocab_size"]
