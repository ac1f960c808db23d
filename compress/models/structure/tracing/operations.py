"""Maps positions of an operation's arguments to positions of its result.

Torch-pruning's index mappings read names that autograd no longer has in torch 2, and assume that
channels are in the second dimension. These mappings follow the dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

Sizes = tuple[int, ...]


class AxisStep(NamedTuple):
    """Positions in the result of the positions along a dimension of an argument.

    Attributes
    ----------
    axis : the result's dimension.
    pairs : pairs (position in the argument, position in the result); None: they are the same.
    """

    axis: int
    pairs: Sequence[tuple[int, int]] | None = None


class Operation(NamedTuple):
    """An operation, with one of its arguments and one of its results.

    Attributes
    ----------
    function : autograd's node of the operation.
    arguments : sizes of all arguments, in order; None if autograd doesn't know them.
    number : index of the argument.
    result : index of the result.
    """

    function: Any
    arguments: Sequence[Sizes | None]
    number: int
    result: int

    @property
    def name(self) -> str:
        """Name of the operation, such as "Cat"."""
        return operation_name(self.function)

    @property
    def given(self) -> Sizes:
        """Sizes of the argument."""
        sizes = self.arguments[self.number]
        return () if sizes is None else sizes

    @property
    def made(self) -> Sizes:
        """Sizes of the result."""
        return tuple(self.function._input_metadata[self.result].shape)

    def saved(self, name: str) -> list[int]:
        """Dimensions that autograd saved, counted from the front; [] if it saved none."""
        value = getattr(self.function, f"_saved_{name}", None)
        if value is None:
            return []
        values = [value] if isinstance(value, int) else list(value)
        # Negative dimensions are given modulo 2 ** 64.
        return [(v - 2**64 if v >= 2**63 else v) % max(len(self.given), 1) for v in values]


Blocked = str
"""The reason why positions can't be followed or cut."""
Answer = AxisStep | Blocked | None
"""The answer is None if the result's dimensions don't depend on the argument's."""

MATMULS = frozenset(
    {"Addmm", "Mm", "Bmm", "Baddbmm", "Addbmm", "Mv", "Addmv", "Dot", "Convolution", "Linear"}
    | {"ConvolutionOverrideable", "MkldnnConvolution", "Embedding", "EmbeddingBag", "Addr"}
    | {"NativeLayerNorm", "NativeGroupNorm", "NativeBatchNorm", "CudnnBatchNorm", "Bilinear"}
)
"""Operations that don't use a layer's weights element by element."""


ATTENTION = "ScaledDotProduct"
"""Prefix of the names of all kinds of fused attention."""
RECURRENT = "Recurrent"
"""Name of the operation that a recurrent layer is."""


def operation_name(function: Any) -> str:
    """The name of an operation, without autograd's "Backward0"."""
    return str(function.name()).rpartition("::")[2].partition("Backward")[0]


def forwards(operation: Operation, axis: int) -> Answer:
    """The positions in the result of those along a dimension of the argument."""
    return _RULES.get(operation.name, _elementwise)(operation, axis)


def backwards(operation: Operation, axis: int) -> list[tuple[int, AxisStep]] | Blocked:
    """The argument's dimensions that become a dimension of the result, with the steps.

    A flattened image has several, of which its channels are the first. There are none if the
    argument is broadcast over the result.
    """
    given = operation.given
    first = 1 if len(given) != 3 else 2
    order = sorted(range(len(given)), key=lambda own: (own != first, own == 0, own))
    steps = [(own, forwards(operation, own)) for own in order]
    found = [(own, step) for own, step in steps if isinstance(step, AxisStep) and step.axis == axis]
    if not found:
        reasons = [step for _, step in steps if isinstance(step, str)]
        own = axis - (len(operation.made) - len(given))
        if operation.name not in _RULES:
            reasons = reasons if own >= 0 and given[own] not in (1, operation.made[axis]) else []
        if reasons:
            return reasons[0]
    return found


def parts(operation: Operation, axis: int) -> int:
    """The number of equal parts into which an operation splits a dimension of its argument."""
    if operation.name not in _PARTED or operation.saved("dim") != [axis]:
        return 1
    return operation.given[axis] // operation.made[axis]


def _same(operation: Operation, own: int, axis: int) -> Answer:
    if 0 <= axis < len(operation.made) and operation.made[axis] == operation.given[own]:
        return AxisStep(axis)
    return f"{operation.name} changes their number"


def _elementwise(operation: Operation, axis: int) -> Answer:
    """Arguments are aligned at the end. Dimensions that an operation works along can't be cut."""
    if operation.given[axis] == 1:
        return None  # it is broadcast
    along = operation.saved("dim") or operation.saved("dims")
    if axis in along:
        return f"{operation.name} runs over them"
    added = len(operation.made) - len(operation.given)
    if added < 0:
        gone = [dim for dim in along if dim < axis]
        return (
            _same(operation, axis, axis - len(gone))
            if along
            else f"{operation.name} runs over them"
        )
    return _same(operation, axis, axis + added)


def _cat(operation: Operation, axis: int) -> Answer:
    if operation.saved("dim") != [axis]:
        return _same(operation, axis, axis)
    sizes = [None if sizes is None else sizes[axis] for sizes in operation.arguments]
    unknown = [number for number, size in enumerate(sizes) if size is None]
    if len(unknown) > 1:
        return "what they are concatenated with isn't known"
    rest = operation.made[axis] - sum(size for size in sizes if size is not None)
    offset = sum(rest if size is None else size for size in sizes[: operation.number])
    return AxisStep(axis, [(i, offset + i) for i in range(operation.given[axis])])


def _split(operation: Operation, axis: int) -> Answer:
    if operation.saved("dim") != [axis]:
        return _same(operation, axis, axis)
    sizes = {meta.shape[axis] for meta in operation.function._input_metadata}
    if len(sizes) > 1:
        return "they are split into parts of different widths"
    wide = sizes.pop()
    return AxisStep(axis, [(operation.result * wide + i, i) for i in range(wide)])


def _slice(operation: Operation, axis: int) -> Answer:
    if operation.saved("dim") != [axis]:
        return _same(operation, axis, axis)
    start, wide, whole = (
        operation.function._saved_start,
        operation.made[axis],
        operation.given[axis],
    )
    start = (start - 2**64 if start >= 2**63 else start) % whole
    if operation.function._saved_step != 1 or start % wide or whole % wide:
        return "a slice names some of them"
    return AxisStep(axis, [(start + i, i) for i in range(wide)])


def _permute(operation: Operation, axis: int) -> Answer:
    return AxisStep(operation.saved("dims").index(axis))


def _transpose(operation: Operation, axis: int) -> Answer:
    one, other = (*operation.saved("dim0"), *operation.saved("dim1"))
    return AxisStep({one: other, other: one}.get(axis, axis))


def _turn(operation: Operation, axis: int) -> Answer:
    return AxisStep(1 - axis)


def _glu(operation: Operation, axis: int) -> Answer:
    if operation.saved("dim") != [axis]:
        return _same(operation, axis, axis)
    half = operation.made[axis]
    return AxisStep(axis, [(i, i % half) for i in range(2 * half)])


def _pixel_shuffle(operation: Operation, axis: int) -> Answer:
    if axis != len(operation.given) - 3:
        return f"{operation.name} runs over them"
    many = operation.given[axis] // operation.made[axis]
    return AxisStep(axis, [(i, i // many) for i in range(operation.given[axis])])


def _bmm(operation: Operation, axis: int) -> Answer:
    """(B, M, K) x (B, K, N): the dimension that is summed over can't be cut."""
    if axis == 2 - operation.number:
        return "a matmul of activations sums over them"
    return AxisStep(axis)


def _attention(operation: Operation, axis: int) -> Answer:
    """Queries, keys and values are (N, H, S, E). Heads are independent."""
    if operation.number > 2:
        return _elementwise(operation, axis)
    return _same(operation, axis, axis) if axis <= 1 else "attention sums over them"


def _index(operation: Operation, axis: int) -> Answer:
    return "indexing picks some of them, or changes their order"


def _recurrent(operation: Operation, axis: int) -> Answer:
    """The layer's ports say what becomes of its sequence, the first argument."""
    return None if operation.number == 0 else "a recurrent layer begins with them"


def _reshape(operation: Operation, axis: int) -> Answer:
    """A dimension stays, is flattened together with its neighbours, or is split into several."""
    given, made = operation.given, operation.made
    size = given[axis]
    if size == 1:
        return None
    before = prod(given[:axis])
    starts = [prod(made[:b]) for b in range(len(made) + 1)]
    for b, wide in enumerate(made):
        if starts[b] == before and wide == size:
            return AxisStep(b)
    for b, wide in enumerate(made):
        whole = {prod(given[:a]) for a in range(len(given) + 1)}
        flattened = starts[b] <= before and starts[b + 1] >= before * size
        if wide > size and flattened and {starts[b], starts[b + 1]} <= whole:
            outer, inner = before // starts[b], starts[b + 1] // (before * size)
            return AxisStep(
                b,
                [
                    (i, (o * size + i) * inner + k)
                    for i in range(size)
                    for o in range(outer)
                    for k in range(inner)
                ],
            )
    return _fold(operation, axis, before, starts)


def _fold(operation: Operation, axis: int, before: int, starts: Sequence[int]) -> Answer:
    """Channels of an image (N, C, H, W) are split into groups, which must all keep equally many.

    Channels in the last dimension are split into heads, or into channels, rows and columns. Whole
    heads or channels are cut.
    """
    given, made = operation.given, operation.made
    inside = [
        b
        for b, wide in enumerate(made)
        if wide > 1 and starts[b] >= before and starts[b + 1] <= before * given[axis]
    ]
    if not inside or prod(made[b] for b in inside) != given[axis]:
        return f"{operation.name} mixes them"
    if axis < len(given) - 1:
        return AxisStep(inside[-1], [(i, i % made[inside[-1]]) for i in range(given[axis])])
    inner = given[axis] // made[inside[0]]
    return AxisStep(inside[0], [(i, i // inner) for i in range(given[axis])])


_RULES: dict[str, Callable[[Operation, int], Answer]] = {
    "Cat": _cat,
    "Split": _split,
    "SplitWithSizes": _split,
    "Slice": _slice,
    "Permute": _permute,
    "Transpose": _transpose,
    "T": _turn,
    "View": _reshape,
    "UnsafeView": _reshape,
    "ReshapeAlias": _reshape,
    "Unsqueeze": _reshape,
    "Squeeze": _reshape,
    "Glu": _glu,
    "PixelShuffle": _pixel_shuffle,
    "Bmm": _bmm,
    "Index": _index,
    RECURRENT: _recurrent,
    "ScaledDotProductFlashAttentionForCpu": _attention,
    "ScaledDotProductFlashAttention": _attention,
    "ScaledDotProductEfficientAttention": _attention,
}
_PARTED = frozenset({"Split", "SplitWithSizes", "Slice"})


def is_spread(name: str, given: Sizes, made: Sizes) -> bool:
    """Return whether an argument is used element by element, broadcast or only rearranged."""
    aligned = zip(reversed(given), reversed(made), strict=False)
    return name in _RULES or all(own in (1, size) for own, size in aligned)
