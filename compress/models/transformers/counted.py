"""Counts the parameters of a transformers model by its config alone. No torch here.

A family has a table of the keys that decide the sizes, with their defaults as of transformers 5,
and a function of them. A config with any other key isn't counted, unless that key changes no shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from compress.models.transformers.heads import outputs_of

Heads = Mapping[str, int]
"""Parameters of a model's head by the Auto class that loads it."""

_CLASSES, _TOKENS, _SPANS, _CHOICES, _MASKED, _NEXT, _BODY = (
    *("AutoModelForSequenceClassification", "AutoModelForTokenClassification"),
    *("AutoModelForQuestionAnswering", "AutoModelForMultipleChoice", "AutoModelForMaskedLM"),
    *("AutoModelForCausalLM", "AutoModel"),
)
_NO_SHAPE = frozenset(
    {
        *("model_type", "architectures", "dtype", "torch_dtype", "transformers_version"),
        *("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "cls_token_id"),
        *("id2label", "label2id", "num_labels", "problem_type", "use_cache"),
        *("hidden_act", "activation", "activation_function", "initializer_range"),
        *("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
        *("dropout", "attention_dropout", "seq_classif_dropout", "qa_dropout"),
        *("attn_pdrop", "embd_pdrop", "resid_pdrop", "layer_norm_eps", "layer_norm_epsilon"),
        *("rms_norm_eps", "rope_parameters", "rope_theta", "rope_scaling", "pretraining_tp"),
        *("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"),
        *("summary_type", "summary_use_proj", "summary_activation", "summary_first_dropout"),
        *("summary_proj_to_labels", "sliding_window", "sinusoidal_pos_embds"),
    }
)
"""Keys that change no parameter's shape."""
_LEFT_OUT = ("add_cross_attention", "is_decoder", "attention_bias", "mlp_bias")
"""Keys of parts that a model has only if they are true, which aren't counted."""
_WIDTHS = (("hidden_size", "num_attention_heads"), ("dim", "n_heads"), ("n_embd", "n_head"))
"""Keys of the hidden width, and of the heads that divide it."""


@dataclass(frozen=True)
class _Family:
    """The keys that decide the sizes with their defaults; the body's parameters and the heads'."""

    defaults: Mapping[str, Any]
    count: Callable[[Any, int], tuple[int, Heads]]


def parameters_of(config: Mapping[str, Any], auto_class: str) -> int | None:
    """Return the number of parameters of a model in a config's sizes.

    Parameters
    ----------
    config : keys of a transformers config; those that aren't named have their defaults.
    auto_class : class of `transformers` that makes the model.

    Returns
    -------
    None if the family, its head or one of the keys isn't described here, or the values don't go
    together.
    """
    family = _FAMILIES.get(str(config.get("model_type")))
    if family is None or any(config.get(key, False) is not False for key in _LEFT_OUT):
        return None
    if not config.keys() <= {*family.defaults, *_NO_SHAPE, *_LEFT_OUT}:
        return None
    sizes = dict(family.defaults) | {key: config[key] for key in family.defaults if key in config}
    labels = outputs_of(config)
    if not all(_is_size(sizes[key], default) for key, default in family.defaults.items()):
        return None
    if _makes_no_model(config, sizes):
        return None
    body, heads = family.count(SimpleNamespace(**sizes), 2 if labels is None else labels)
    return body + heads[auto_class] if auto_class in heads else None


def _is_size(value: object, default: object) -> bool:
    if isinstance(default, bool):
        return isinstance(value, bool)
    return (type(value) is int and value > 0) or (value is None and default is None)


def _makes_no_model(config: Mapping[str, Any], sizes: Mapping[str, Any]) -> bool:
    padding = config.get("pad_token_id")
    widths = next(pair for pair in _WIDTHS if pair[0] in sizes)
    whole = sizes.get("head_dim") is not None or sizes[widths[0]] % sizes[widths[1]] == 0
    return not whole or (padding is not None and not 0 <= padding < sizes["vocab_size"])


def _encoder(rows: int, hidden: int, neurons: int, layers: int) -> int:
    """A body with embeddings of so many rows in all, a normalisation, and BERT's layers."""
    layer = 4 * _linear(hidden, hidden) + _linear(hidden, neurons) + _linear(neurons, hidden)
    return rows * hidden + 2 * hidden + layers * (layer + 4 * hidden)


def _linear(read: int, made: int) -> int:
    return read * made + made


def _words(hidden: int, config: Any, *, untied: int) -> int:
    """The head that finds masked words.

    Parameters
    ----------
    untied : parameters for each word that it has besides a bias, if its matrix isn't that of the
        embeddings.
    """
    words = int(config.vocab_size)
    more = 0 if config.tie_word_embeddings else words * untied
    return _linear(hidden, hidden) + 2 * hidden + words + more


def _bert(config: Any, labels: int) -> tuple[int, Heads]:
    hidden, rows = config.hidden_size, config.vocab_size
    pooler, scores = _linear(hidden, hidden), _linear(hidden, labels)
    rows += config.max_position_embeddings + config.type_vocab_size
    body = _encoder(rows, hidden, config.intermediate_size, config.num_hidden_layers)
    return body, {
        _BODY: pooler,
        _CLASSES: pooler + scores,
        _CHOICES: pooler + _linear(hidden, 1),
        _TOKENS: scores,
        _SPANS: scores,
        _MASKED: _words(hidden, config, untied=hidden + 1),  # and a second bias
    }


def _distilbert(config: Any, labels: int) -> tuple[int, Heads]:
    hidden, rows = config.dim, config.vocab_size + config.max_position_embeddings
    first, scores = _linear(hidden, hidden), _linear(hidden, labels)
    return _encoder(rows, hidden, config.hidden_dim, config.n_layers), {
        _BODY: 0,
        _CLASSES: first + scores,
        _CHOICES: first + _linear(hidden, 1),
        _TOKENS: scores,
        _SPANS: scores,
        _MASKED: _words(hidden, config, untied=hidden),
    }


def _gpt2(config: Any, labels: int) -> tuple[int, Heads]:
    hidden = config.n_embd
    neurons = config.n_inner or 4 * hidden
    embeddings = config.vocab_size * hidden
    rows = config.n_positions
    layer = _linear(hidden, 3 * hidden) + _linear(hidden, hidden) + 4 * hidden
    layer += _linear(hidden, neurons) + _linear(neurons, hidden)
    body = embeddings + rows * hidden + config.n_layer * layer + 2 * hidden
    return body, {
        _BODY: 0,
        _CLASSES: hidden * labels,
        _TOKENS: _linear(hidden, labels),
        _NEXT: 0 if config.tie_word_embeddings else embeddings,
    }


def _llama(config: Any, labels: int, *, biases: bool = False) -> tuple[int, Heads]:
    hidden, heads = config.hidden_size, config.num_attention_heads
    key_values = config.num_key_value_heads or heads
    size = getattr(config, "head_dim", None) or hidden // heads
    queries, both = heads * size, 2 * key_values * size
    layer = hidden * (2 * queries + both) + 3 * hidden * config.intermediate_size + 2 * hidden
    layer += (queries + both) * biases
    embeddings = config.vocab_size * hidden
    return embeddings + config.num_hidden_layers * layer + hidden, {
        _BODY: 0,
        _CLASSES: hidden * labels,
        _TOKENS: _linear(hidden, labels),
        _NEXT: 0 if config.tie_word_embeddings else embeddings,
    }


def _qwen2(config: Any, labels: int) -> tuple[int, Heads]:
    return _llama(config, labels, biases=True)


_BERT = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "tie_word_embeddings": True,
}
_DISTILBERT = {
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "n_layers": 6,
    "n_heads": 12,
    "dim": 768,
    "hidden_dim": 3072,
    "tie_word_embeddings": True,
}
_GPT2 = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "tie_word_embeddings": True,
}
_LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "head_dim": None,
}
_MISTRAL = _LLAMA | {"intermediate_size": 14336, "num_key_value_heads": 8}
_QWEN2 = {key: value for key, value in _LLAMA.items() if key != "head_dim"}
_QWEN2 |= {"vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32}

_FAMILIES: Mapping[str, _Family] = {
    "bert": _Family(_BERT, _bert),
    "distilbert": _Family(_DISTILBERT, _distilbert),
    "gpt2": _Family(_GPT2, _gpt2),
    "llama": _Family(_LLAMA, _llama),
    "mistral": _Family(_MISTRAL, _llama),
    "qwen2": _Family(_QWEN2, _qwen2),
}
COUNTED = tuple(_FAMILIES)
"""Families, by `model_type`, whose parameters a config tells."""
