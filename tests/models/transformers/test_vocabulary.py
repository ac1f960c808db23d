"""Models with fewer tokens answer as before, are built again from files, and are told by name."""

import copy

import pytest
import torch
import transformers as hf
from torch import nn

from compress.core.artifact import Artifact, Format
from compress.data.images.transform import ImagePreprocessor
from compress.errors import StageError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import PythonSource, TransformersSource
from compress.models.transformers.vocabulary import (
    as_seen_by,
    keep_tokens,
    reads_alike,
    reserved_ids,
    vocabulary_size,
)
from compress.models.weights.digests import weights_digest

SIZE, WIDTH = 60, 16
BERT = {
    "vocab_size": SIZE,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
LLAMA = BERT | {"num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": [2, 58]}
GPT2 = {"vocab_size": SIZE, "n_embd": WIDTH, "n_layer": 1, "n_head": 2, "n_positions": 40}
T5 = {
    "decoder_start_token_id": 0,
    "vocab_size": SIZE,
    "d_model": WIDTH,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 1,
    "num_heads": 2,
}
BART = {
    "vocab_size": SIZE,
    "d_model": WIDTH,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 40,
}
DISTILBERT = {"vocab_size": SIZE, "dim": WIDTH, "n_layers": 1, "n_heads": 2, "hidden_dim": 24}
ELECTRA = BERT | {"embedding_size": 8}
CLASSIFIERS = {
    "bert": (hf.BertForSequenceClassification, hf.BertConfig(**BERT)),
    "tagger": (hf.BertForTokenClassification, hf.BertConfig(**BERT)),
    "encoder": (hf.BertModel, hf.BertConfig(**BERT)),
    "distilbert": (hf.DistilBertForSequenceClassification, hf.DistilBertConfig(**DISTILBERT)),
    "electra": (hf.ElectraForSequenceClassification, hf.ElectraConfig(**ELECTRA)),
    "roberta": (hf.RobertaForSequenceClassification, hf.RobertaConfig(**BERT, pad_token_id=3)),
    "mpnet": (hf.MPNetForSequenceClassification, hf.MPNetConfig(**BERT)),
    "deberta": (hf.DebertaV2ForSequenceClassification, hf.DebertaV2Config(**BERT)),
    "gpt2": (hf.GPT2ForSequenceClassification, hf.GPT2Config(**GPT2, pad_token_id=57)),
    "llama": (hf.LlamaForSequenceClassification, hf.LlamaConfig(**LLAMA, pad_token_id=57)),
    "t5": (hf.T5ForSequenceClassification, hf.T5Config(**T5)),
    "bart": (hf.BartForSequenceClassification, hf.BartConfig(**BART)),
}
GENERATORS = {
    "gpt2": (hf.GPT2LMHeadModel, hf.GPT2Config(**GPT2)),
    "llama tied": (hf.LlamaForCausalLM, hf.LlamaConfig(**LLAMA, tie_word_embeddings=True)),
    "qwen untied": (hf.Qwen3ForCausalLM, hf.Qwen3Config(**LLAMA, tie_word_embeddings=False)),
    "bert with biases": (hf.BertLMHeadModel, hf.BertConfig(**BERT, is_decoder=True)),
    "roberta": (hf.RobertaForCausalLM, hf.RobertaConfig(**BERT, is_decoder=True)),
}


def made(kind):
    model_class, config = kind
    torch.manual_seed(0)
    module = model_class(copy.deepcopy(config)).float().eval()
    with torch.no_grad():  # biases are made as zeros, which would hide a wrong row
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return module, TransformersSource.of(module)


def some(module):
    """Kept tokens: every third, those that the model goes by, and a few out of order at the end."""
    kept = sorted(reserved_ids(module) | set(range(0, SIZE, 3)))
    return [*kept, *(one for one in (50, 40) if one not in kept)]


def inputs(module, kept):
    """New ids, the last two columns padding, or an end of text where the model looks for one."""
    torch.manual_seed(1)
    ids = torch.randint(len(kept), (3, 9))
    config = module.config
    if config.pad_token_id is not None and config.pad_token_id < SIZE:
        ids[ids == kept.index(config.pad_token_id)] = kept.index(50)
        ids[:2, -2:] = kept.index(config.pad_token_id)
    if isinstance(config.eos_token_id, int) and config.eos_token_id in kept:
        ids[ids == kept.index(config.eos_token_id)] = kept.index(50)
        ids[:, -3] = kept.index(config.eos_token_id)
    mask = torch.ones_like(ids)
    mask[:2, -2:] = 0
    return ids, mask


def answer(module, ids, mask):
    with torch.no_grad():
        return module(input_ids=ids, attention_mask=mask)[0]


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_the_same_answers_and_built_again_from_files(kind, tmp_path):
    module, source = made(CLASSIFIERS[kind])
    before = weights_digest(module)
    kept = some(module)
    smaller, source = keep_tokens(module, source, kept=kept)
    assert weights_digest(module) == before
    assert vocabulary_size(smaller, source) == len(kept) == source.config["vocab_size"]
    new, mask = inputs(module, kept)
    wanted = answer(module, torch.tensor(kept)[new], mask)
    assert torch.equal(answer(smaller, new, mask), wanted)
    save_checkpoint(smaller, source, tmp_path)
    again, _ = load_checkpoint(tmp_path)
    torch.testing.assert_close(answer(again, new, mask), wanted, rtol=1e-5, atol=1e-6)
    assert again.config.vocab_size == len(kept)


@pytest.mark.parametrize("kind", GENERATORS)
def test_scores_of_the_kept_tokens_stay(kind, tmp_path):
    module, source = made(GENERATORS[kind])
    kept = some(module)
    tied = module.get_input_embeddings().weight is module.get_output_embeddings().weight
    smaller, source = keep_tokens(module, source, kept=kept)
    assert tied == (smaller.get_input_embeddings().weight is smaller.get_output_embeddings().weight)
    new, mask = inputs(module, kept)
    wanted = answer(module, torch.tensor(kept)[new], mask)[..., kept]
    torch.testing.assert_close(answer(smaller, new, mask), wanted, rtol=1e-5, atol=1e-6)
    save_checkpoint(smaller, source, tmp_path)
    again, _ = load_checkpoint(tmp_path)
    torch.testing.assert_close(
        answer(again, new, mask), answer(smaller, new, mask), rtol=1e-5, atol=1e-6
    )
    assert smaller.get_output_embeddings().out_features == len(kept)


def test_only_what_runs_along_the_vocabulary_changes():
    module, source = made(CLASSIFIERS["bert"])
    kept = some(module)
    smaller, _ = keep_tokens(module, source, kept=kept)
    ours, theirs = dict(smaller.named_parameters()), dict(module.named_parameters())
    changed = [name for name in ours if ours[name].shape != theirs[name].shape]
    assert changed == ["bert.embeddings.word_embeddings.weight"]
    assert torch.equal(ours[changed[0]], theirs[changed[0]][kept])
    rest = set(ours) - set(changed)
    assert all(torch.equal(ours[name], theirs[name]) for name in rest)


def test_ids_of_the_config_are_renumbered_everywhere():
    module, source = made(CLASSIFIERS["llama"])
    smaller, trimmed = keep_tokens(module, source, kept=[58, 57, 2, 1])
    for config in (smaller.config, trimmed.load_config(), smaller.model.config):
        assert config.vocab_size == 4
        assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (1, 3, [2, 0])
    assert smaller.get_input_embeddings().padding_idx == 1
    assert smaller.get_input_embeddings().num_embeddings == 4
    assert module.config.pad_token_id == 57
    language, source = made(GENERATORS["llama tied"])
    language.generation_config.eos_token_id = [2, 58]
    assert keep_tokens(language, source, kept=[1, 2, 58])[0].generation_config.eos_token_id == [
        1,
        2,
    ]


def test_positions_counted_from_the_padding_token_reserve_all_ids_up_to_it():
    assert {0, 1, 2, 3} <= reserved_ids(made(CLASSIFIERS["roberta"])[0])
    assert {0, 1} <= reserved_ids(made(CLASSIFIERS["mpnet"])[0])
    assert reserved_ids(made(CLASSIFIERS["llama"])[0]) == {1, 2, 57, 58}
    assert reserved_ids(made(CLASSIFIERS["distilbert"])[0]) == {0}


def test_ids_beyond_the_vocabulary_mean_no_token():
    module, source = made(GENERATORS["gpt2"])
    assert module.config.eos_token_id == 50256
    assert reserved_ids(module) == set()
    assert keep_tokens(module, source, kept=[3, 4])[0].config.eos_token_id == 50256


def test_a_pruned_model(tmp_path):
    module, source = made(CLASSIFIERS["bert"])
    layer = module.bert.encoder.layer[1]
    layer.intermediate.dense, layer.output.dense = nn.Linear(WIDTH, 7), nn.Linear(7, WIDTH)
    kept = some(module)
    smaller, source = keep_tokens(module, source, kept=kept)
    new, mask = inputs(module, kept)
    wanted = answer(module, torch.tensor(kept)[new], mask)
    save_checkpoint(smaller, source, tmp_path)
    torch.testing.assert_close(
        answer(load_checkpoint(tmp_path)[0], new, mask), wanted, rtol=1e-5, atol=1e-6
    )


class Preprocessor:
    tokenizer = None

    def __init__(self, original_ids=None):
        self.original_ids = original_ids


def artifact(kind, original_ids=None):
    module, source = made(kind)
    if original_ids is not None:
        module, source = keep_tokens(module, source, kept=original_ids)
    return Artifact(Format.TORCH, module, source, preprocessor=Preprocessor(original_ids))


def test_the_reference_as_a_smaller_vocabulary_sees_it():
    whole, kept = artifact(GENERATORS["gpt2"]), [1, 4, 9, 30, 50]
    few = artifact(GENERATORS["gpt2"], kept)
    fewer = artifact(GENERATORS["gpt2"], kept[1:4])
    assert as_seen_by(whole, whole) is whole.module
    assert as_seen_by(few, few) is few.module
    assert weights_digest(as_seen_by(few, whole)) == weights_digest(few.module)
    for reference in (whole, few):
        seen = as_seen_by(fewer, reference)
        assert weights_digest(seen) == weights_digest(fewer.module)
    for unfit in (whole, few):
        with pytest.raises(StageError, match="dropped from the reference"):
            as_seen_by(unfit, fewer)
    images = Artifact(Format.TORCH, nn.Linear(2, 2), preprocessor=ImagePreprocessor())
    assert as_seen_by(images, images) is images.module


def test_what_is_refused():
    own = PythonSource("package:function")
    with pytest.raises(StageError, match=r"needs a transformers model.*Got Linear"):
        vocabulary_size(nn.Linear(2, 2), own)
    module, source = made(CLASSIFIERS["llama"])
    with pytest.raises(StageError, match=r"names token 57 \(pad_token_id\)"):
        keep_tokens(module, source, kept=[1, 2, 58])
    vision = hf.ViTForImageClassification(
        hf.ViTConfig(hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2)
    )
    with pytest.raises(StageError, match="embeddings of tokens"):
        vocabulary_size(vision, TransformersSource.of(vision))


class Tokens:
    """A tokenizer that knows its vocabulary alone."""

    def __init__(self, **ids):
        self.get_vocab = lambda: ids


class Reads:
    """A preprocessor of such a tokenizer, cut or not."""

    def __init__(self, tokenizer, original_ids=None):
        self.tokenizer, self.original_ids = tokenizer, original_ids


@pytest.mark.parametrize(
    ("preprocessor", "alike"),
    [
        (Reads(Tokens(a=0, b=1, c=2)), True),
        (Reads(Tokens(b=0, c=1), (1, 2)), True),
        (Reads(Tokens(a=0, b=2, c=1)), False),
        (Reads(Tokens(a=0, d=1)), False),
        (Reads(None), True),
    ],
)
def test_tokens_that_are_not_the_references_are_seen(preprocessor, alike):
    reference = Artifact(
        Format.TORCH, module=nn.Identity(), preprocessor=Reads(Tokens(a=0, b=1, c=2))
    )
    artifact = Artifact(Format.TORCH, preprocessor=preprocessor)
    assert reads_alike(artifact, reference) is alike
    if not alike:
        with pytest.raises(StageError, match="tokenizer of its own"):
            as_seen_by(artifact, reference)
