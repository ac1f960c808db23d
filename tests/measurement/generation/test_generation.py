"""A prompt is read and an answer decoded, by every kind of model, and both are timed."""

import numpy as np
import onnx
import pytest
import torch

from compress.errors import InputError
from compress.measurement.generation.decoder import OnnxDecoder
from compress.measurement.generation.module import ModuleDecoder
from compress.measurement.generation.spec import GenerationSpec
from compress.measurement.generation.speed import Passage, generation, passage_of, time_generation
from compress.measurement.results import Speedup
from compress.onnx_graph.files import load_graph
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.quantization.storage.store import store_weights
from compress.quantization.weight_only.graph import WeightOnly
from compress.quantization.weight_only.quantize import quantize_weights
from compress.tasks.task import TASKS

TASK = TASKS["text-generation"]
PROMPT, ANSWER = (3, 141, 59, 26, 5), 12


def answer(decoder):
    decoder.begin()
    tokens = [decoder.read(PROMPT)]
    while len(tokens) < ANSWER:
        tokens.append(decoder.read(tokens[-1:]))
    return tokens


def whole_text(module):
    """The greedy answer of a module that reads the whole text for every token."""
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        for _ in range(ANSWER):
            following = module(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)
            ids = torch.cat([ids, following], dim=1)
    return ids[0, len(PROMPT) :].tolist()


@pytest.fixture(params=["llama", "gpt2"])
def model(request, exported_model):
    return exported_model(request.param)


def test_greedy_answers_of_file_and_module_are_those_of_whole_texts(model):
    module, path = model
    wanted = whole_text(module)
    assert len(set(wanted)) > 2
    onnx_decoder, module_decoder = OnnxDecoder(path), ModuleDecoder(module, task=TASK)
    assert onnx_decoder.has_cache
    assert module_decoder.has_cache
    for decoder in (onnx_decoder, onnx_decoder, module_decoder):  # it forgets the text before
        assert answer(decoder) == wanted


def test_a_file_without_a_cache_reads_the_whole_text(tmp_path):
    path = without_cache(tmp_path / "plain.onnx")
    decoder = OnnxDecoder(path)
    assert not decoder.has_cache
    decoder.begin()
    first = decoder.read([4, 2])
    assert first == (4 + 2) % 7
    assert decoder.read([first]) == (4 + 2 + first) % 7


def without_cache(path):
    """A graph whose likeliest next token is the sum of all that were read, modulo 7."""
    text = """
        <ir_version: 10, opset_import: ["" : 20]>
        sums (int64[N, S] input_ids, int64[N, S] attention_mask) => (float[N, S, 7] logits) {
            last = Constant <value_ints = [-1]> ()
            one = Constant <value_ints = [1]> ()
            seven = Constant <value_int = 7> ()
            axis = Constant <value_int = 1> ()
            on_off = Constant <value_floats = [0.0, 1.0]> ()
            sums = CumSum (input_ids, axis)
            places = Mod (sums, seven)
            logits = OneHot <axis = -1> (places, seven, on_off)
        }
    """
    onnx.save(onnx.parser.parse_model(text), path)
    return path


FORMS = {
    "dynamic": lambda source, path: quantize_dynamic(
        source,
        path=path,
        selection=select(load_graph(source), method="dynamic"),
        integers=Integers("uint8", "uint8"),
    ),
    "weight_only-8": lambda source, path: quantize_weights(
        source, path=path, options=WeightOnly(bits=8, block_size=16)
    ),
    "weight_only-4": lambda source, path: quantize_weights(
        source, path=path, options=WeightOnly(bits=4, block_size=16)
    ),
    "storage": lambda source, path: store_weights(source, path=path, bits=8),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_quantized_form_decodes_with_the_cache_as_without(form, exported_model, tmp_path):
    _, source = exported_model("llama")
    path = tmp_path / "made.onnx"
    FORMS[form](source, path)
    decoder = OnnxDecoder(path)
    assert decoder.has_cache
    stepwise = answer(decoder)
    text, same = list(PROMPT), 0
    for token in stepwise:
        decoder.begin()
        same += decoder.read(text) == token
        text.append(token)
    # A dynamic scale is that of what is read at once, so that a near tie may turn.
    assert same >= (ANSWER // 2 if form == "dynamic" else ANSWER)


def test_models_take_turns_and_both_parts_are_timed(exported_model):
    _, path = exported_model("llama")
    calls = []

    class Noted(OnnxDecoder):
        def read(self, tokens):
            calls.append((self, len(tokens)))
            return super().read(tokens)

    models = {name: Noted(path) for name in "ab"}
    text = Passage(PROMPT, 3)
    times = time_generation(models, text, seconds=0.001, rounds=6, warmup=2)
    rounds = [calls[start : start + 8] for start in range(0, len(calls), 8)]
    assert len(rounds) == 8
    for each in rounds:
        assert [length for _, length in each] == 2 * [5, 1, 1, 1]
        assert len({id(decoder) for decoder, _ in each[:4]}) == 1
        assert {id(decoder) for decoder, _ in each} == {id(each) for each in models.values()}
    assert len({id(each[0][0]) for each in rounds}) == 2  # in orders drawn anew
    assert {part: {n: len(x) for n, x in of.items()} for part, of in times.runs_ms.items()} == {
        part: {"a": 6, "b": 6} for part in ("prefill", "decoding")
    }
    speedups = {
        part: Speedup(*times.speedup(part, "a", over="b")) for part in ("prefill", "decoding")
    }
    found = generation(times, text, cached=True, speedups=speedups, model="a")
    assert (found.prompt, found.answer, found.cached) == (5, 3, True)
    assert found.prefill.tokens_per_second == pytest.approx(5000 / found.prefill.latency_ms.p50)
    assert found.decoding.tokens_per_second == pytest.approx(1000 / found.decoding.latency_ms.p50)
    low, high = found.decoding.speedup.ci95
    assert 0.1 < low <= found.decoding.speedup.vs_original <= high < 10


@pytest.mark.parametrize(
    ("given", "most", "lengths"),
    [
        ({}, 4096, (64, 32)),
        ({}, 96, (64, 32)),
        ({}, 16, (10, 6)),
        ({}, 2, (1, 1)),
        ({"prompt": 100}, 128, (100, 28)),
        ({"answer": 100}, 128, (28, 100)),
        ({"prompt": 512, "answer": 512}, 1024, (512, 512)),
    ],
)
def test_lengths_fit_into_a_text(given, most, lengths):
    spec = GenerationSpec(**given)
    assert spec.lengths(most) == lengths
    assert spec.problem("text-generation", most=most) is None


@pytest.mark.parametrize("given", [{"prompt": 16}, {"answer": 16}, {"prompt": 10, "answer": 7}])
def test_lengths_that_do_not_fit_are_refused(given):
    said = r"'generation' must be a prompt and an answer of together at most 16 tokens"
    with pytest.raises(InputError, match=said):
        GenerationSpec(**given).lengths(16)


def test_a_prompt_is_a_text_without_its_padding_as_often_as_it_takes():
    inputs = {
        "input_ids": np.array([[0, 0, 7, 8, 9, 1, 2, 3, 4], [5] * 9]),
        "attention_mask": np.array([[0, 0, 1, 1, 1, 0, 0, 0, 0], [1] * 9]),
    }
    assert passage_of(inputs, GenerationSpec(prompt=5, answer=2)) == Passage((7, 8, 9, 7, 8), 2)
