"""Tokenizers of pieces of words, trained on a few texts."""

import json

import pytest

from compress.data.texts.encode import TextPreprocessor
from compress.data.vocabulary.pieces import SPECIAL, train_pieces

TEXTS = [f"The {one} lies near the {two}-like harbour." for one in ("boat", "car") for two in "abc"]


def trained(size=300):
    return train_pieces(TEXTS, size=size, max_length=32)


def test_the_same_texts_give_the_same_tokenizer():
    one, two = (trained().backend_tokenizer.to_str() for _ in range(2))
    assert json.loads(one) == json.loads(two)


def test_words_that_occur_often_are_one_piece_in_any_case():
    tokenizer = trained()
    assert tokenizer.tokenize("THE harbour. NEAR") == ["the", "harbour", ".", "near"]
    assert tokenizer.tokenize("a-like") == ["a", "-", "like"]
    assert tokenizer.tokenize("harbours") == ["harbour", "##s"]
    assert tokenizer.tokenize("qqq") == ["[UNK]"]


def test_a_text_stands_between_special_tokens_and_a_pair_has_one_between():
    tokenizer = trained()
    begin, separator = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]")
    ids = tokenizer("the", "car")["input_ids"]
    assert [ids[0], ids[2], ids[4]] == [begin, separator, separator]
    assert list(tokenizer.model_input_names) == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("size", [60, 90])
def test_it_has_at_most_so_many_tokens(size):
    assert len(SPECIAL) < len(trained(size)) <= size


def test_a_preprocessor_saves_it(tmp_path):
    from transformers import AutoTokenizer

    given = TextPreprocessor(trained(), 8)
    given.save(tmp_path)
    again = TextPreprocessor(AutoTokenizer.from_pretrained(tmp_path), 8)
    [ours], [theirs] = (one.encode(["The boat-like car near a harbour"]) for one in (given, again))
    assert ours == theirs
    assert len(ours["input_ids"]) == 8
