"""Small texts with labels, and a tokenizer that knows more than they need."""

import itertools
from pathlib import Path

from compress.data.spec import Vocabulary as TrainedVocabulary
from compress.data.vocabulary.train import train_tokenizer

_THINGS = ("car", "house", "sky", "bird", "boat", "tree")
_COLOURS = ("red", "green", "blue", "yellow")
_PLACES = ("near the harbour", "behind a wall", "in the morning", "")
_SYLLABLES = (("tor", "vel", "gim", "pla"), ("en", "ost", "ub"), ("dar", "lybe", "mish", "quo"))
_OTHER = [f"{''.join(parts)} {parts[0]}{parts[2]}" for parts in itertools.product(*_SYLLABLES)]


def coloured():
    """A Python source: the label is the colour."""
    samples = [
        {"text": f"the {thing} is {colour} {place}", "label": colour}
        for thing, colour, place in itertools.product(_THINGS, _COLOURS, _PLACES)
    ]
    return {"train": samples, "validation": samples[::5], "test": samples[1::4]}


def made_up():
    """A Python source of what only the tokenizer has seen."""
    return {"train": [{"text": text} for text in _OTHER]}


def save_tokenizer(folder: Path, *, generates: bool = False) -> str:
    """One that was trained on both; returns its folder."""
    texts = [sample["text"] for sample in coloured()["train"]] + _OTHER
    options = TrainedVocabulary(vocab_size=420)
    tokenizer = train_tokenizer(texts, options, generates=generates, max_length=24)
    tokenizer.save_pretrained(str(folder))
    return str(folder)
