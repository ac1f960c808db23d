"""Finds groups of units of a module without a description, by tracing it.

A copy of the module is run once. Autograd's graph has the layers and operations of that run.
Channels are then followed through the graph, position by position, as in Fang et al., "DepGraph:
Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900. Their torch-pruning follows widths
instead of positions, and so can't tell the halves of a chunk or of a concatenation apart.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from compress.errors import StageError, few
from compress.models.structure.groups import Group
from compress.models.structure.tracing.attentions import head_groups
from compress.models.structure.tracing.labels import ChannelLabels
from compress.models.structure.tracing.tape import Tape, record
from compress.models.structure.tracing.trial import fixed_by_code
from compress.models.structure.tracing.units import as_group, coupled_channels

if TYPE_CHECKING:
    from compress.core.context import Batch, Task


def traced_groups(
    module: nn.Module, *, task: Task, inputs: Batch, limit_s: float = 60.0
) -> tuple[list[Group], tuple[str, ...]]:
    """Groups of units that can be cut, and a line for each reason to leave others alone.

    A unit is a head of torch's own attention (see `head_groups`), a neuron of the feed-forward of
    torch's own transformer layers, or a channel of a layer with its entries in normalisations, in
    depthwise convolutions, in parameters outside of layers, and in all layers that read it. If
    branches are added, it is the same channel of each. If a convolution or a normalisation works in
    groups of channels, a unit is one channel of every group, so that all groups stay equally wide.

    The model's inputs and output are left alone, and so are channels that an operation mixes in a
    way that cutting would change, and units whose number the model's code names or computes with.

    Parameters
    ----------
    inputs : an example; `task.logits` runs a copy of the module on its first sample.
    limit_s : the largest number of seconds for following the channels, without the run itself.

    Raises
    ------
    StageError : the module can't be traced, or following its channels took longer than `limit_s`.
    """
    tape = record(copy.deepcopy(module).eval(), task=task, inputs=inputs)
    labels = _followed(tape, limit_s=limit_s)
    groups, alone = head_groups(tape)
    for each in coupled_channels(labels, tape):
        made = as_group(each)
        if isinstance(made, Group):
            groups.append(_named(made, tape.module))
        else:
            alone.setdefault(made, []).extend(each.makers)
    fixed = fixed_by_code(module, groups, task=task, inputs=inputs)
    for group, reason in fixed:
        alone.setdefault(reason, []).append(group.name)
    groups = [group for group in groups if all(group is not one for one, _ in fixed)]
    order = {path: number for number, (path, _) in enumerate(module.named_modules())}
    return _told_apart(sorted(groups, key=lambda group: order[group.name])), tuple(
        f"left alone, as {reason}: {few(list(dict.fromkeys(paths)))}."
        for reason, paths in alone.items()
    )


def _named(group: Group, module: nn.Module) -> Group:
    """Call the channels inside the feed-forward of torch's own transformer layers neurons."""
    path, _, name = group.name.rpartition(".")
    layer = module.get_submodule(path)
    own = isinstance(layer, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer)
    return replace(group, kind="feed_forward") if own and name == "linear1" else group


def _told_apart(groups: Sequence[Group]) -> list[Group]:
    """Leave out modules with several attentions, as the matmuls of each aren't known."""
    owners = Counter(path for group in groups for path in group.attentions)
    return [
        replace(group, attentions=tuple(path for path in group.attentions if owners[path] == 1))
        for group in groups
    ]


def _followed(tape: Tape, *, limit_s: float) -> ChannelLabels:
    labels, end = ChannelLabels(tape), time.monotonic() + limit_s
    for port in dict.fromkeys(port for call in tape.calls for port in call.ports):
        if not port.begins:
            continue
        for _ in labels.spread(port):
            if time.monotonic() > end:
                raise StageError(
                    f"tracing {type(tape.module).__name__} for pruning, following the channels of "
                    f"{port.path!r}, took longer than {limit_s:g} s and was stopped."
                )
    return labels
