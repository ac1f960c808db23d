"""Linear layers in 8 or 4 bits: for a teacher beside its student, or as the end of a pipeline.

bitsandbytes implements them: LLM.int8() (Dettmers et al., NeurIPS 2022, arXiv:2208.07339) and NF4
(Dettmers et al., "QLoRA", NeurIPS 2023, arXiv:2305.14314).
"""

from __future__ import annotations

import copy
import logging
import warnings
from typing import Any, Literal

import torch
from torch import nn

from compress.errors import StageError

Bits = Literal[4, 8]


def to_low_bit(module: nn.Module, *, bits: Bits, device: str) -> nn.Module:
    """A copy on the device with quantised linear layers. It is for inference only.

    Embeddings, normalisations and the output head stay in fp32. The head is everything outside the
    body of a transformers model, and the last linear layer of any other module. Layers that
    bitsandbytes can't pack in 4 bits stay in fp32 too: it needs a multiple of 32 rows and of 64
    columns.

    Parameters
    ----------
    module : the module to copy; it is left as it was.
    bits : 8 (LLM.int8) or 4 (NF4, with fp32 arithmetic).
    device : "cpu" or "cuda".

    Raises
    ------
    StageError : bitsandbytes isn't installed, or there is no linear layer to quantise.
    """
    names = low_bit_layers(module, bits=bits)
    bitsandbytes_for("a model in 8 or 4 bits")
    smaller = copy.deepcopy(module)
    for name in names:
        path, _, leaf = name.rpartition(".")
        parent = smaller.get_submodule(path)
        setattr(parent, leaf, _quantised(parent.get_submodule(leaf), bits=bits))
    return smaller.to(device).eval().requires_grad_(False)


def low_bit_layers(module: nn.Module, *, bits: Bits) -> tuple[str, ...]:
    """Paths of the layers that `to_low_bit` quantises.

    Raises
    ------
    StageError : there is no such layer.
    """
    names = [name for name in _replaceable(module) if bits == 8 or _packs(module, name)]
    if not names:
        raise StageError(
            f"{type(module).__name__} has no linear layer (torch.nn.Linear) besides the one that "
            f"makes its answers, or none that fits: it can't be held in {bits} bits."
        )
    return tuple(names)


def is_low_bit(module: nn.Module) -> bool:
    """Return whether a module is a layer of bitsandbytes."""
    return type(module).__module__.partition(".")[0] == "bitsandbytes"


def stored_bytes(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers, and of the scales of its quantised layers.

    A tensor that several layers share counts once.
    """
    state = module.state_dict()
    tensors = {(value.data_ptr(), value.shape): value for value in state.values()}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _replaceable(module: nn.Module) -> list[str]:
    linears = [name for name, part in module.named_modules() if type(part) is nn.Linear]
    prefix = getattr(module, "base_model_prefix", None)
    if prefix is None:
        return linears[:-1]
    if not hasattr(module, prefix):
        return linears  # the body alone
    return [name for name in linears if name.startswith(f"{prefix}.")]


def _packs(module: nn.Module, name: str) -> bool:
    rows, columns = module.get_submodule(name).get_parameter("weight").shape
    return rows % 32 == 0 and columns % 64 == 0


def _quantised(linear: nn.Module, *, bits: Bits) -> nn.Module:
    """The layer of bitsandbytes, not quantised yet: that happens when it moves to its device."""
    weight = linear.get_parameter("weight").detach().float()
    rows, columns = weight.shape
    made: nn.Module = empty_layer(columns, rows, bias=linear.bias, bits=bits)
    nn_ = bitsandbytes_for("a model in 8 or 4 bits").nn
    if bits == 8:
        made.weight = nn_.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    else:
        made.weight = nn_.Params4bit(weight, requires_grad=False, quant_type="nf4")
    return made


def empty_layer(columns: int, rows: int, *, bias: object, bits: Bits) -> Any:
    """A layer of bitsandbytes without a weight.

    Parameters
    ----------
    bias : a tensor (rows,), which is copied, or None.
    """
    library = bitsandbytes_for("a model in 8 or 4 bits")
    made: Any
    has_bias = isinstance(bias, torch.Tensor)
    with torch.device("meta"):  # the layer's own weight is thrown away
        if bits == 8:
            made = library.nn.Linear8bitLt(
                columns, rows, bias=has_bias, has_fp16_weights=False, threshold=6.0
            )
        else:
            made = library.nn.Linear4bit(
                columns, rows, bias=has_bias, compute_dtype=torch.float32, quant_type="nf4"
            )
    if isinstance(bias, torch.Tensor):
        made.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return made


def bitsandbytes_for(what: str) -> Any:
    """The library bitsandbytes.

    Parameters
    ----------
    what : words for what needs it, for the message.

    Raises
    ------
    StageError : bitsandbytes isn't installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch warns in its own modules
            import bitsandbytes
    except ImportError as error:
        raise StageError(
            f"{what} needs bitsandbytes: pip install 'compress[bitsandbytes]'."
        ) from error
    # Every call would warn that inputs become fp16, and that there is a faster kernel to download.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    return bitsandbytes
