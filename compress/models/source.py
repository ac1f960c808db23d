"""Sources that rebuild a module's skeleton from plain values instead of pickles."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from compress.core.artifact import ModelSource
from compress.core.foreign.boundary import foreign
from compress.core.foreign.entries import call_entry
from compress.errors import ModelError, unknown
from compress.models.low_bit.stored import put_packed
from compress.models.low_rank import put_low_rank
from compress.models.ngrams.source import NgramSource
from compress.models.static_embeddings import StaticSource

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class TransformersSource:
    """A transformers class and its config.

    Attributes
    ----------
    class_name : name of a class in `transformers`, such as "BertForSequenceClassification", or in
        the file of the config's family, such as "BartEncoder".
    config : the config's `to_dict()`; its `model_type` selects the config class.
    """

    class_name: str
    config: dict[str, Any] = field(hash=False)

    @classmethod
    def of(cls, module: PreTrainedModel) -> TransformersSource:
        """The source of a transformers model. It has the model's config, but no pruned sizes."""
        return cls(type(module).__name__, plain_config(module.config))

    def build(self) -> nn.Module:
        """A new model in fp32 on the CPU, in eval mode, initialised from torch's global seed.

        Raises
        ------
        ModelError : transformers has no such class, or the config doesn't fit it.
        """
        import transformers

        config = self.load_config()
        model_class = getattr(transformers, self.class_name, None) or self._of_family(config)
        if not isinstance(model_class, type) or not issubclass(
            model_class, transformers.PreTrainedModel
        ):
            raise ModelError(f"transformers {transformers.__version__} has no {self.class_name}.")
        module: nn.Module = model_class(config)
        return module.float().eval()

    def _of_family(self, config: PreTrainedConfig) -> object:
        """The class in the file of the config's family, as for encoders; None if there is none."""
        import transformers

        made = transformers.MODEL_MAPPING.get(type(config), None)
        whole = made[0] if isinstance(made, tuple) else made
        return whole and getattr(sys.modules[whole.__module__], self.class_name, None)

    def load_config(self) -> PreTrainedConfig:
        """The config as its transformers class.

        Raises
        ------
        ModelError : `model_type` is missing, or transformers doesn't know it.
        """
        import transformers

        kind = self.config.get("model_type")
        known = transformers.CONFIG_MAPPING
        if not isinstance(kind, str) or kind not in known:
            raise ModelError(
                f"transformers {transformers.__version__} knows no model_type {kind!r}."
            )
        config: PreTrainedConfig = known[kind].from_dict(dict(self.config))
        return config

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; see `source_from_dict`."""
        return {"kind": "transformers", "class_name": self.class_name, "config": self.config}


@dataclass(frozen=True)
class PythonSource:
    """A function that makes the module.

    Attributes
    ----------
    factory : "package.module:function", which may lie in the current directory.
    arguments : its keyword arguments, plain JSON values.
    """

    factory: str
    arguments: dict[str, Any] = field(default_factory=dict, hash=False)

    def build(self) -> nn.Module:
        """A new module in fp32 on the CPU, in eval mode, initialised by its factory.

        Raises
        ------
        ModelError : the factory can't be found or called, or doesn't return a module with dense
            parameters.
        """
        from torch import nn

        module = call_entry(self.factory, dict(self.arguments), error=ModelError)
        if not isinstance(module, nn.Module):
            raise ModelError(
                f"{self.factory!r} must return a torch.nn.Module. Got {type(module).__name__}."
            )
        with foreign(repr(self.factory), error=ModelError):  # a module's methods are its own
            problem = _unusable(module)
            if problem is not None:
                raise ModelError(f"{self.factory!r} must return {problem}.")
            return module.float().cpu().eval()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; see `source_from_dict`."""
        return {"kind": "python", "factory": self.factory, "arguments": self.arguments}


@dataclass(frozen=True)
class LowRankSource:
    """A model with some layers split into low-rank ones.

    Attributes
    ----------
    base : source of the model with whole layers.
    ranks : rank of each split layer, by its path; see `compress.models.low_rank`.
    """

    base: ModelSource
    ranks: dict[str, int] = field(hash=False)

    def build(self) -> nn.Module:
        """The base's module, as the base builds it, with untrained low-rank layers.

        Raises
        ------
        ModelError : the base can't be built, or has no such layers.
        """
        return put_low_rank(self.base.build(), self.ranks)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; see `source_from_dict`."""
        return {"kind": "low-rank", "base": self.base.to_dict(), "ranks": self.ranks}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LowRankSource:
        """See `source_from_dict`; without the kind.

        Raises
        ------
        ModelError : as it does.
        """
        base, ranks = values.get("base"), values.get("ranks")
        if set(values) != {"base", "ranks"} or not isinstance(base, dict):
            raise ModelError("a model source of kind 'low-rank' is damaged: it needs base, ranks.")
        if not isinstance(ranks, dict) or any(type(rank) is not int for rank in ranks.values()):
            raise ModelError("a model source of kind 'low-rank' is damaged: ranks are numbers.")
        return cls(source_from_dict(base), dict(ranks))


@dataclass(frozen=True)
class LowBitSource:
    """A model with some linear layers in 8 or 4 bits.

    Attributes
    ----------
    base : source of the model with float layers.
    bits : bits of a weight.
    layers : paths of the layers.
    """

    base: ModelSource
    bits: Literal[4, 8]
    layers: tuple[str, ...]

    def build(self) -> nn.Module:
        """The base's module with empty packed layers, which a checkpoint fills.

        Raises
        ------
        ModelError : the base can't be built, or has no such layers.
        """
        return put_packed(self.base.build(), self.layers, bits=self.bits)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; see `source_from_dict`."""
        return {
            "kind": "low-bit",
            "base": self.base.to_dict(),
            "bits": self.bits,
            "layers": list(self.layers),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LowBitSource:
        """See `source_from_dict`; without the kind.

        Raises
        ------
        ModelError : as it does.
        """
        base, bits, layers = (values.get(name) for name in ("base", "bits", "layers"))
        if set(values) != {"base", "bits", "layers"} or not isinstance(base, dict):
            raise ModelError(
                "a model source of kind 'low-bit' is damaged: it needs base, bits, layers."
            )
        if bits not in (4, 8) or not isinstance(layers, list):
            raise ModelError(
                "a model source of kind 'low-bit' is damaged: bits are 4 or 8, layers a list."
            )
        return cls(source_from_dict(base), bits, tuple(map(str, layers)))


def _unusable(module: nn.Module) -> str | None:
    """Words for what a factory must return instead of a module; None if the module is usable."""
    import torch

    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if not dict(module.named_parameters()):
        return f"a module with parameters. This {type(module).__name__} has none"
    for name, tensor in tensors.items():
        if torch.nn.parameter.is_lazy(tensor):
            return f"a module whose shapes are known. {name!r} gets its own from the first batch"
        if tensor.is_meta:
            return f"a module with weights. {name!r} is on the meta device, where there are none"
        if tensor.layout != torch.strided:
            return f"a module with dense tensors. {name!r} is {tensor.layout}"
    return None


def source_from_dict(values: Mapping[str, Any]) -> ModelSource:
    """The source whose `to_dict` gave these values.

    Raises
    ------
    ModelError : the kind is unknown, or keys are missing.
    """
    kinds: dict[str, Callable[..., ModelSource]] = {
        "transformers": TransformersSource,
        "python": PythonSource,
        "low-rank": lambda **rest: LowRankSource.from_dict(rest),
        "low-bit": lambda **rest: LowBitSource.from_dict(rest),
        "static": lambda **rest: StaticSource.from_dict(rest),
        "ngrams": lambda **rest: NgramSource.from_dict(rest),
    }
    rest = {key: value for key, value in values.items() if key != "kind"}
    kind = kinds.get(str(values.get("kind")))
    if kind is None:
        raise ModelError(unknown("kind of model source", str(values.get("kind")), kinds))
    try:
        return kind(**rest)
    except TypeError as error:
        raise ModelError(
            f"a model source of kind {values['kind']!r} is damaged: {error}"
        ) from error


def factory_in(values: Mapping[str, Any]) -> object:
    """The function in a source's values, which `build` would call; None if there is none."""
    base = values.get("base")
    return values.get("factory") or (factory_in(base) if isinstance(base, Mapping) else None)


def plain_config(config: PreTrainedConfig) -> dict[str, Any]:
    """A transformers config as plain JSON values, with dtype fp32: all work here is done in it."""
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    values.pop("_name_or_path", None)  # the folder it was loaded from doesn't change the model
    return values | {"dtype": "float32"}
