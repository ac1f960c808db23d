"""Encoder-decoder models read their answer where a text ends, so that texts must have an end."""

import pytest
import torch
import transformers

from compress.core.artifact import Artifact, Format
from compress.errors import ModelError
from compress.models.source import TransformersSource
from compress.runner.fit import tried_outputs
from compress.tasks.task import task
from tests.models.structure.family_models import BART


@pytest.mark.parametrize(("ends", "found"), [((0, 0), "0"), ((1, 2), "1, 2")])
def test_texts_without_the_same_number_of_ends_are_refused_in_our_words(ends, found):
    module = transformers.BartForSequenceClassification(
        transformers.BartConfig(**BART, num_labels=3)
    ).eval()
    artifact = Artifact(Format.TORCH, module, TransformersSource.of(module))
    ids = torch.full((2, 6), 5)
    for row, count in enumerate(ends):
        ids[row, 6 - count :] = 2
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    said = rf"reads its answer at the last end of a text.* Got {found} of the token 2, the config's"
    with pytest.raises(ModelError, match=said):
        tried_outputs(artifact, inputs, task("text-classification"))
    ids[:, -1:] = 2
    ids[:, :-1] = 5
    assert tried_outputs(artifact, inputs, task("text-classification"))["logits"].shape == (2, 3)
