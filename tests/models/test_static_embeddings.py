"""A table of token vectors as a model: its answers, its source and its files."""

import pytest
import torch

from compress.errors import ModelError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import source_from_dict
from compress.models.static_embeddings import StaticSource, with_table
from compress.models.transformers.vocabulary import keep_tokens, vocabulary_size

TABLE = torch.arange(15.0).reshape(5, 3)
IDS, MASK = torch.tensor([[4, 1, 0], [2, 3, 3]]), torch.tensor([[1, 1, 0], [1, 1, 1]])


def test_tokens_are_looked_up_and_padding_is_zero():
    module, _ = with_table(TABLE)
    answer = module(IDS, MASK, token_type_ids=torch.ones_like(IDS))
    assert torch.equal(answer[1], TABLE[[2, 3, 3]])
    assert torch.equal(answer[0], torch.stack([TABLE[4], TABLE[1], torch.zeros(3)]))


def test_it_comes_back_from_files(tmp_path):
    module, source = with_table(TABLE)
    save_checkpoint(module, source, tmp_path)
    again, found = load_checkpoint(tmp_path, python=False)
    assert found == source == StaticSource(5, 3)
    assert torch.equal(again(IDS, MASK), module(IDS, MASK))


@pytest.mark.parametrize("values", [{}, {"tokens": 5}, {"tokens": 5, "dimensions": "3"}])
def test_a_damaged_source_is_refused(values):
    with pytest.raises(ModelError, match="'static' is damaged"):
        source_from_dict({"kind": "static", **values})


def test_tokens_are_dropped():
    module, source = with_table(TABLE)
    assert vocabulary_size(module, source) == 5
    smaller = keep_tokens(module, source, kept=[4, 1])
    assert smaller.source == StaticSource(2, 3)
    assert torch.equal(smaller.module.table.weight, TABLE[[4, 1]])
    assert torch.equal(module.table.weight, TABLE)
