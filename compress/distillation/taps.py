"""Records the outputs of a model's inner modules during a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from compress.errors import StageError


class Taps:
    """Hooks that record the outputs of inner modules, during one forward pass at a time.

    Hooks stay on the module until `remove`, but record only inside `recording`. Adding and removing
    them at every step would make a compiled module compile again.

    Parameters
    ----------
    features : paths of modules whose (first) output is kept.
    attentions : pairs of a layer's path, and the path of its module that returns attention weights.
    """

    def __init__(
        self, features: Sequence[str] = (), attentions: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._features = tuple(dict.fromkeys(features))
        self._attentions = tuple(dict.fromkeys(attentions))
        self._seen: dict[str, Tensor] = {}
        self._maps: dict[str, Tensor] = {}
        self._recording = False
        self._attached: WeakSet[nn.Module] = WeakSet()
        self._handles: list[RemovableHandle] = []

    @property
    def features(self) -> tuple[str, ...]:
        """Paths whose outputs are kept."""
        return self._features

    @property
    def is_empty(self) -> bool:
        """True if nothing is recorded."""
        return not self._features and not self._attentions

    @contextmanager
    def recording(self, module: nn.Module) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """Record features and attention weights of the passes inside the context, by path.

        Raises
        ------
        StageError : a module's output isn't a tensor (or a tuple that begins with one), or it
            returned no attention weights.
        """
        if module not in self._attached and not self.is_empty:
            self._attach(module)
        self._seen, self._maps, self._recording = {}, {}, True
        try:
            yield self._seen, self._maps
        finally:
            self._recording = False

    def remove(self) -> None:
        """Remove the hooks from all modules."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._attached.clear()

    def _attach(self, module: nn.Module) -> None:
        hooks = [(path, self._feature_hook(path)) for path in self._features]
        hooks += [(path, self._attention_hook(layer)) for layer, path in self._attentions]
        for path, hook in hooks:
            self._handles.append(module.get_submodule(path).register_forward_hook(hook))
        self._attached.add(module)

    def _feature_hook(self, path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if self._recording:
                self._seen[path] = first_tensor(output, path=path)

        return hook

    def _attention_hook(self, layer: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if self._recording:
                weights = attention_weights(output)
                if weights is None:
                    raise StageError(f"{layer} returned no attention weights.")
                self._maps[layer] = weights

        return hook


def first_tensor(output: Any, *, path: str) -> Tensor:
    """Return a module's output, or its first item.

    Raises
    ------
    StageError : the result isn't a tensor.
    """
    first = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(first, Tensor):
        raise StageError(f"module {path!r} must return a tensor. Got {type(first).__name__}.")
    return first


def attention_weights(output: Any) -> Tensor | None:
    """Return the tensor (N, heads, S, S) among a module's outputs; None if there is none."""
    if not isinstance(output, tuple):
        return None
    found = (item for item in output[1:] if isinstance(item, Tensor) and item.ndim == 4)
    return next((item for item in found if item.shape[-1] == item.shape[-2]), None)


def attention_module(layer: nn.Module, *, path: str, run: Any) -> str:
    """Return the path of the innermost module of a layer that returns attention weights.

    Parameters
    ----------
    path : the layer's path.
    run : called without arguments; runs the whole model once, with eager attention.

    Raises
    ------
    StageError : no module returns attention weights.
    """
    found: list[str] = []
    hooks = [
        part.register_forward_hook(
            lambda module, inputs, output, name=name: (
                found.append(name) if attention_weights(output) is not None else None
            )
        )
        for name, part in layer.named_modules()
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise StageError(f"no module in {path!r} returns attention weights, even in eager mode.")
    return f"{path}.{found[0]}" if found[0] else path
