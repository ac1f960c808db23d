"""Cuts tokens from a transformers model, or from a table of static embeddings.

Tensors with a vocabulary dimension (embeddings, the output layer, its biases) aren't listed by
architecture. They are those whose shape changes with the config's vocabulary size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compress.core.artifact import Artifact, ModelSource
from compress.errors import StageError
from compress.models.source import TransformersSource
from compress.models.static_embeddings import StaticEmbeddings, StaticSource, with_table
from compress.models.transformers.reconfigured import take_numbers
from compress.models.weights.weightless import without_weights

_SIZE = "vocab_size"
_IDS = ("_token_id", "_token_ids")


class Trimmed(NamedTuple):
    """A model with fewer tokens.

    Attributes
    ----------
    module : the module, in eval mode.
    source : rebuilds its skeleton.
    """

    module: nn.Module
    source: TransformersSource | StaticSource


def vocabulary_size(module: nn.Module, source: ModelSource | None) -> int:
    """Number of tokens that a model knows: the rows of its input embeddings.

    Raises
    ------
    StageError : the model isn't one of transformers, or has no embeddings of tokens.
    """
    if isinstance(source, StaticSource):
        return source.tokens
    if not isinstance(source, TransformersSource):
        raise StageError(
            "dropping tokens needs a transformers model, whose config says how many there are, or "
            "a student by 'static'. "
            f"Got {type(module).__name__}."
        )
    found: Any = module
    embeddings = found.get_input_embeddings()
    if not isinstance(embeddings, nn.Embedding):
        raise StageError(
            f"dropping tokens needs a model with embeddings of tokens. {type(module).__name__} has "
            f"{type(embeddings).__name__}."
        )
    return int(embeddings.weight.shape[0])


def reserved_ids(module: nn.Module) -> set[int]:
    """Ids of tokens that the model itself uses: those that its config names.

    Some models (RoBERTa's kind) count positions from the padding token's id on. This id must not
    change, so all ids up to it are reserved.
    """
    found: Any = module
    embeddings = found.get_input_embeddings()
    size = int(embeddings.weight.shape[0])
    ids = {number for config in _configs(module) for number in _named_ids(vars(config))}
    ids |= set() if embeddings.padding_idx is None else {embeddings.padding_idx}
    for part in module.modules():
        counts = isinstance(part, nn.Embedding) and len(part.weight) != size
        if counts and isinstance(part.padding_idx, int):
            ids |= set(range(part.padding_idx + 1))
    return {number for number in ids if 0 <= number < size}


def keep_tokens(module: nn.Module, source: ModelSource | None, *, kept: Sequence[int]) -> Trimmed:
    """A copy of a model with some of its tokens. Everything else stays.

    Parameters
    ----------
    module : the model, which may have been pruned; it is left as it was.
    source : the module's source.
    kept : the old id of each new id; the config's ids are renumbered accordingly.

    Raises
    ------
    StageError : see `vocabulary_size`; the config names a token that isn't kept; or a tensor
        depends on the vocabulary in an unknown way.
    """
    size = vocabulary_size(module, source)
    if isinstance(module, StaticEmbeddings):
        return Trimmed(*with_table(module.table.weight.detach()[list(kept)]))
    if not isinstance(source, TransformersSource):
        raise TypeError("vocabulary_size lets only sources of transformers models pass.")
    renumber = _Renumbering(size, {old: new for new, old in enumerate(kept)})
    trimmed = replace(source, config=renumber.values(source.config))
    with without_weights():
        before, after = source.build(), trimmed.build()
    smaller = copy.deepcopy(module)
    for name, dim in _along(before, after, size=size, kept=len(kept)).items():
        _cut(smaller, name, dim=dim, kept=torch.tensor(list(kept)))
    take_numbers(smaller, before=before, after=after)
    for config in _configs(smaller):
        for key, value in renumber.changed(vars(config)).items():
            setattr(config, key, value)
    return Trimmed(smaller.eval(), trimmed)


def as_seen_by(artifact: Artifact, reference: Artifact) -> nn.Module:
    """The reference's module, for inputs that an artifact's preprocessor makes.

    After a `vocabulary` stage the artifact's ids differ from the reference's. The result is then a
    copy of the reference with the artifact's tokens, whose answers are the reference's. Scores over
    tokens (text generation) are those of the kept tokens.

    Raises
    ------
    StageError : the artifact knows tokens that the reference doesn't, or see `keep_tokens`.
    """
    if not reads_alike(artifact, reference):
        raise StageError(
            "the model has a tokenizer of its own, whose tokens aren't the reference's."
        )
    wanted, known = artifact.original_ids, reference.original_ids
    module = reference.require_module()
    if wanted == known:
        return module
    size = vocabulary_size(module, reference.source)
    place = {old: new for new, old in enumerate(range(size) if known is None else known)}
    if wanted is None or not all(number in place for number in wanted):
        raise StageError("the model knows tokens that were dropped from the reference.")
    kept = [place[number] for number in wanted]
    return keep_tokens(module, reference.source, kept=kept).module


def reads_alike(artifact: Artifact, reference: Artifact) -> bool:
    """Return whether an artifact's tokens are the reference's, all of them or some.

    A student with a tokenizer of its own has other ones. Models without a tokenizer read alike.
    """
    ours, theirs = _original_tokens(artifact), _original_tokens(reference)
    return ours is None or theirs is None or ours.items() <= theirs.items()


def _original_tokens(artifact: Artifact) -> dict[str, int] | None:
    """The id of each token before the vocabulary was cut; None without a tokenizer."""
    tokenizer = None if artifact.preprocessor is None else artifact.preprocessor.tokenizer
    if tokenizer is None:
        return None
    ids, original = dict[str, int](tokenizer.get_vocab()), artifact.original_ids
    return ids if original is None else {token: original[ids[token]] for token in ids}


class _Renumbering:
    """Renumbers the token ids in a config.

    Parameters
    ----------
    size : size of the old vocabulary.
    place : the new id of each old id that is kept.
    """

    def __init__(self, size: int, place: Mapping[int, int]) -> None:
        self._size, self._place = size, place

    def values(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A config's `to_dict()` with new ids, configs inside it included."""
        inner = {
            key: self.values(one)
            for key, one in config.items()
            if isinstance(one, dict) and "model_type" in one
        }
        return {**config, **inner, **self.changed(config)}

    def changed(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The new values of those keys of a config that change."""
        found: dict[str, Any] = {}
        for key, value in config.items():
            if key == _SIZE and value == self._size:
                found[key] = len(self._place)
            elif key.endswith(_IDS):
                found[key] = self._number(key, value)
        return found

    def _number(self, key: str, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._number(key, one) for one in value]
        # Defaults of a config's class may lie beyond a small vocabulary; they aren't tokens then.
        if not isinstance(value, int) or not 0 <= value < self._size:
            return value
        if value not in self._place:
            raise StageError(f"the config names token {value} ({key}), which isn't kept.")
        return self._place[value]


def _configs(module: nn.Module) -> list[Any]:
    """The config objects of a model and its parts, those inside them, and the generation config."""
    found: dict[int, Any] = {}
    for part in module.modules():
        for name in ("config", "generation_config"):
            config = part.__dict__.get(name)
            if hasattr(config, "to_dict"):
                found[id(config)] = config
    for config in list(found.values()):
        found |= {id(one): one for one in vars(config).values() if hasattr(one, "to_dict")}
    return list(found.values())


def _named_ids(values: Mapping[str, Any]) -> list[int]:
    named = [value for key, value in values.items() if key.endswith(_IDS)]
    flat = [one for value in named for one in (value if isinstance(value, list) else [value])]
    return [value for value in flat if isinstance(value, int)]


def _along(before: nn.Module, after: nn.Module, *, size: int, kept: int) -> dict[str, int]:
    """The vocabulary dimension of each tensor that has one, by the tensor's name."""
    shapes = {name: tuple(tensor.shape) for name, tensor in after.state_dict().items()}
    found: dict[str, int] = {}
    for name, tensor in before.state_dict().items():
        old, new = tuple(tensor.shape), shapes[name]
        changed = [dim for dim, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]
        if not changed:
            continue
        if len(changed) > 1 or (old[changed[0]], new[changed[0]]) != (size, kept):
            raise StageError(
                f"tokens can't be dropped: {name} is {old}, and with {kept} of {size} tokens {new}."
            )
        found[name] = changed[0]
    if not found:
        raise StageError(
            f"tokens can't be dropped: nothing of {type(before).__name__} depends on its config's "
            f"'{_SIZE}'."
        )
    return found


def _cut(smaller: nn.Module, name: str, *, dim: int, kept: Tensor) -> None:
    """Cut a tensor under this name and under all names that share it."""
    old = _tensor(smaller, name)
    if len(kept) == old.shape[dim]:
        return  # it was cut under another name before
    rows = old.detach().index_select(dim, kept).clone()
    new = nn.Parameter(rows, old.requires_grad) if isinstance(old, nn.Parameter) else rows
    for part in smaller.modules():
        for held in (part._parameters, part._buffers):
            for leaf, tensor in held.items():
                if tensor is old:
                    setattr(part, leaf, new)


def _tensor(module: nn.Module, name: str) -> Tensor:
    path, _, leaf = name.rpartition(".")
    tensor: Tensor = getattr(module.get_submodule(path), leaf)
    return tensor
