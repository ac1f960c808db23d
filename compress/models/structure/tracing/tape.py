"""Records one run of a module: operations between tensors, and calls of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compress.core.batch import model_inputs
from compress.errors import StageError
from compress.models.structure.tracing.layers import Port, ports_of
from compress.models.structure.tracing.operations import MATMULS, RECURRENT, operation_name
from compress.models.structure.tracing.recurrent import as_operations
from compress.tasks.outputs import joined

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

_LAID_OUT = frozenset({"T", "Transpose", "Permute", "View", "ToCopy"})
"""Operations that only rearrange or convert weights."""
Function = Any
"""A node of autograd's graph: an operation, or a leaf."""


class TensorRef(NamedTuple):
    """A tensor, as the operation that made it and the index of the result."""

    function: Function
    number: int

    @property
    def leaf(self) -> Tensor | None:
        """The parameter, buffer or input; None if the tensor was computed."""
        found: Tensor | None = getattr(self.function, "variable", None)
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of all its dimensions."""
        if self.leaf is not None:
            return tuple(self.leaf.shape)
        return tuple(self.function._input_metadata[self.number].shape)


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer.

    Attributes
    ----------
    ports : the layer's sides with channels.
    given : its input; None if that doesn't depend on a parameter or a float input.
    made : its output.
    """

    ports: Sequence[Port]
    given: TensorRef | None
    made: TensorRef

    @cached_property
    def computed(self) -> bool:
        """True if the layer multiplies with something that it computes from its weights."""
        if not isinstance(self.ports[0].layer, _ConvNd | nn.Linear):
            return False
        inside = _between(self)
        given = {function for function in inside if self._reads(function, inside)}
        for function in inside:
            if operation_name(function) not in MATMULS:
                continue
            for source, _ in function.next_functions:
                while source in inside and operation_name(source) in _LAID_OUT:
                    source = source.next_functions[0][0]
                if source in inside and source not in given and not hasattr(source, "variable"):
                    return True
        return False

    def _reads(self, function: Function, inside: Sequence[Function]) -> bool:
        """Return whether an operation inside depends on the layer's input."""
        waiting, seen = [function], set()
        while waiting:
            source = waiting.pop()
            if self.given is not None and source is self.given.function:
                return True
            if source in inside and source not in seen:
                seen.add(source)
                waiting += [before for before, _ in source.next_functions]
        return False


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One call of an `nn.MultiheadAttention`.

    Attributes
    ----------
    masked : whether it was given a mask for each head.
    weights : the operation that made the attention weights that it returned; None without them.
    """

    path: str
    attention: nn.MultiheadAttention
    masked: bool
    weights: Function | None


@dataclass
class Tape:
    """The record of one run.

    Attributes
    ----------
    module : the module that was run.
    calls : the calls of known layers.
    attentions : the calls of torch's own attention modules.
    operations : the operations outside of the known layers.
    output : the module's answer.
    inputs : the module's float inputs.
    """

    module: nn.Module
    calls: list[LayerCall] = field(default_factory=list)
    attentions: list[AttentionCall] = field(default_factory=list)
    operations: list[Function] = field(default_factory=list)
    output: TensorRef | None = None
    inputs: list[Tensor] = field(default_factory=list)

    def leaves(self) -> dict[int, tuple[str, str]]:
        """Path and name of each parameter and buffer, by identity."""
        return {
            id(tensor): (path, name)
            for path, part in self.module.named_modules()
            for name, tensor in (*part._parameters.items(), *part._buffers.items())
            if tensor is not None
        }


def record(traced: nn.Module, *, task: Task, inputs: Batch) -> Tape:
    """Run a module on the first sample, and record the run.

    Parameters
    ----------
    traced : a copy in eval mode. It is changed: all of it is made to require gradients.

    Raises
    ------
    StageError : the module can't be traced.
    """
    tape = Tape(traced.requires_grad_(True))  # the record is of autograd's graph
    as_operations(traced)
    known: dict[nn.Module, Sequence[Port]] = {
        part: ports_of(part, path) for path, part in traced.named_modules()
    }
    for attention in traced.modules():
        if isinstance(attention, nn.MultiheadAttention):  # it may read its layer's weight itself
            known |= dict.fromkeys(attention.children(), ())
    for part, ports in known.items():
        if not ports:
            for buffer in part.buffers(recurse=False):
                if buffer.is_floating_point():
                    buffer.requires_grad_(True)
    given = {name: value[:1].clone() for name, value in model_inputs(inputs).items()}
    for value in given.values():
        if value.is_floating_point():
            tape.inputs.append(value.requires_grad_(True))
    with _listening(traced, known, tape), torch.enable_grad():
        functions = _functions(traced, task=task, inputs=given, tape=tape)
    hidden = {function for call in tape.calls for function in _between(call)}
    tape.operations = [function for function in functions if function not in hidden]
    return tape


def _functions(traced: nn.Module, *, task: Task, inputs: Batch, tape: Tape) -> list[Function]:
    """The operations that made the module's answer and its layers' answers, without leaves."""
    try:
        answer = joined(list(task.named_outputs(traced, inputs).values()))
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise StageError(
            f"{type(traced).__name__} can't be traced: {type(error).__name__}: {error}"
        ) from error
    if answer.grad_fn is None:
        raise StageError(
            f"{type(traced).__name__} can't be traced: its answer has no gradient with respect to "
            "its parameters."
        )
    tape.output = TensorRef(answer.grad_fn, answer.output_nr)
    # Layers whose answer nobody reads (a pooler) run too, and must still fit what they are given.
    ends = [answer.grad_fn, *(call.made.function for call in tape.calls)]
    every = dict.fromkeys(found for end in ends for found in _behind(end))
    return [found for found in every if not hasattr(found, "variable")]


@contextmanager
def _listening(
    traced: nn.Module,
    known: dict[nn.Module, Sequence[Port]],
    tape: Tape,
) -> Iterator[None]:
    """Record the layers' calls within the context."""

    def leave(part: nn.Module, given: tuple[Any, ...], named: dict[str, Any], answer: Any) -> None:
        first = next(iter((*given, *named.values())), None)
        source = None
        if isinstance(first, Tensor) and first.requires_grad:
            # A view names the node of its base, even of a leaf, which doesn't name its own.
            view: Function = first.view_as(first).grad_fn
            source = TensorRef(*view.next_functions[0])
        made = answer[0] if isinstance(answer, tuple) else answer  # recurrent layers give states
        tape.calls.append(LayerCall(known[part], source, TensorRef(made.grad_fn, made.output_nr)))

    hooks = [
        part.register_forward_hook(leave, with_kwargs=True)
        for part, ports in known.items()
        if ports
    ]
    hooks += [
        part.register_forward_hook(partial(_attended, tape, path), with_kwargs=True)
        for path, part in traced.named_modules()
        if isinstance(part, nn.MultiheadAttention)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _attended(
    tape: Tape,
    path: str,
    part: nn.MultiheadAttention,
    given: tuple[Any, ...],
    named: dict[str, Any],
    answer: tuple[Tensor, Tensor | None],
) -> None:
    """Record the call of an attention, of which this is a forward hook."""
    mask = named.get("attn_mask", given[5] if len(given) > 5 else None)
    weights = answer[1]
    made = None if weights is None else weights.grad_fn
    tape.attentions.append(AttentionCall(path, part, mask is not None and mask.dim() == 3, made))


def _between(call: LayerCall) -> list[Function]:
    """The operations within a call of a layer; none if it is an operation with more inputs."""
    if operation_name(call.made.function) == RECURRENT:
        return []
    return _behind(call.made.function, end=call.given.function if call.given else None)


def _behind(function: Function, *, end: Function | None = None) -> list[Function]:
    """A node of autograd's graph and all nodes before it, up to and without `end`."""
    found: dict[Function, None] = {}
    waiting = [function]
    while waiting:
        at = waiting.pop()
        if at is None or at is end or at in found:
            continue
        found[at] = None
        waiting += [source for source, _ in at.next_functions]
    return list(found)
