"""The keys that the config of a transformers family may have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from sys import modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_LABELS = frozenset({"num_labels", "id2label"})
_ELSEWHERE = frozenset(
    {
        *("gradient_checkpointing", "n_ctx", "output_past", "pretraining_tp", "rope_scaling"),
        *("rope_theta", "task_specific_params", "torch_dtype"),
    }
)
"""Keys of published configs that the base class of configs reads, or that change no answer."""
_IN_MODEL = re.compile(r"""\bconfig\.([a-z]\w*)|getattr\((?:self\.)?config, ["'](\w+)["']""")
_IN_CONFIG = re.compile(r"""kwargs\.(?:pop|get)\(["']([a-z]\w*)["']""")


def known_keys(config_class: type[PreTrainedConfig]) -> set[str]:
    """The keys that a config class declares, and others that published configs have.

    A class needn't declare what its family reads: DeBERTa's `position_buckets` and ModernBERT's
    `global_attn_every_n_layers` are read where they are needed. How texts are generated stood in
    configs up to transformers 4.
    """
    import transformers

    declared = {*config_class().to_dict(), *config_class.attribute_map}
    generation = {key for key in transformers.GenerationConfig().to_dict() if key[0] != "_"}
    read = set(_read(config_class, {"modeling": _IN_MODEL, "configuration": _IN_CONFIG}))
    return declared | _LABELS | _ELSEWHERE | generation | read


def keys_of_models(config_class: type[PreTrainedConfig]) -> set[str]:
    """The keys that a family's models read of a config that is made already."""
    return set(_read(config_class, {"modeling": _IN_MODEL}))


def _read(
    config_class: type[PreTrainedConfig], patterns: Mapping[str, re.Pattern[str]]
) -> Iterator[str]:
    """Yield the keys that the family's own files read, by patterns for each kind of file."""
    own = modules[config_class.__module__].__file__
    for path in Path(own).parent.glob("*.py") if own else ():
        pattern = patterns.get(path.name.partition("_")[0])
        for found in pattern.finditer(path.read_text(encoding="utf-8")) if pattern else ():
            key = next(filter(None, found.groups()))
            if not callable(getattr(config_class, key, None)):
                yield key
