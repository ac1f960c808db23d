"""Trains a tokenizer on texts. It is a byte-level BPE, to which no text is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from compress.data.spec import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"
_PAD, _BEGIN, _SEPARATOR, _MASK = "[PAD]", "[CLS]", "[SEP]", "[MASK]"


def train_tokenizer(
    texts: Iterable[str], options: Vocabulary, *, generates: bool, max_length: int
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on texts; the same texts give the same tokenizer.

    Parameters
    ----------
    generates : whether it is for text generation. Its only special token is then the end-of-text
        token, with id 0. Otherwise texts are put between [CLS] and [SEP], and there are a padding
        and a mask token; [PAD] has id 0.
    max_length : the largest number of tokens in a text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [END] if generates else [_PAD, _BEGIN, _SEPARATOR, _MASK]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=not generates)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=options.vocab_size,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    names: dict[str, Any] = {"eos_token": END}
    if not generates:
        backend.post_processor = _framed(backend)
        names = {
            "pad_token": _PAD,
            "cls_token": _BEGIN,
            "sep_token": _SEPARATOR,
            "mask_token": _MASK,
        }
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **names,
    )


def _framed(backend: Any) -> Any:
    from tokenizers import processors

    return processors.TemplateProcessing(
        single=f"{_BEGIN} $A {_SEPARATOR}",
        pair=f"{_BEGIN} $A {_SEPARATOR} $B {_SEPARATOR}",
        special_tokens=[(name, backend.token_to_id(name)) for name in (_BEGIN, _SEPARATOR)],
    )
