"""Random models with fewer tokens make the same pieces of the words that they were cut for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from compress.data.vocabulary.closure import cut_model, kept_tokens, tried_pieces, vocabulary
from compress.errors import StageError

ALPHABET = "abc"
UNKNOWN = "[UNK]"
WORDS = st.lists(st.text(ALPHABET, min_size=1, max_size=9), min_size=1, max_size=6)


def pieces(model, word):
    return [token.value for token in backend(model).model.tokenize(word)]


def backend(model):
    values = {"version": "1.0", "added_tokens": [], "model": model}
    rest = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    return Tokenizer.from_str(json.dumps(values | dict.fromkeys(rest)))


def parts_of(model):
    return json.loads(Tokenizer(model).to_str())["model"]


def cut_for(model, words):
    """The model for some words, which must make the same pieces of them."""
    wanted = {word: pieces(model, word) for word in words}
    kept = kept_tokens(model, {piece for found in wanted.values() for piece in found})
    if model["type"] == "WordPiece":
        for word in words:
            kept |= tried_pieces(model, word)
    old = vocabulary(model)
    smaller = cut_model(model, {t: at for at, t in enumerate(sorted(kept, key=old.__getitem__))})
    assert set(vocabulary(smaller)) == kept
    assert {word: pieces(smaller, word) for word in words} == wanted
    return smaller


@st.composite
def bpe(draw, suffix=None, prefix=None):
    """Merges in random order: a part may be made by a merge of a higher rank than its own."""
    prefix_, suffix_ = prefix or "", suffix or ""
    tokens = {p + c + s for c in ALPHABET for p in {"", prefix_} for s in {"", suffix_}}
    merges = []
    for _ in range(draw(st.integers(1, 24))):
        left = draw(st.sampled_from(sorted(t for t in tokens if not t.endswith(suffix_ or "\n"))))
        right = draw(st.sampled_from(sorted(t for t in tokens if t.startswith(prefix_))))
        merges.append((left, right))
        tokens.add(left + right.removeprefix(prefix_))
    unique = list(dict.fromkeys(draw(st.permutations(merges))))
    vocab = {token: at for at, token in enumerate(sorted(tokens))}
    given_ = {"end_of_word_suffix": suffix, "continuing_subword_prefix": prefix}
    named = {name: value for name, value in given_.items() if value}
    model = parts_of(models.BPE(vocab=vocab, merges=unique, **named))
    return model | {"ignore_merges": draw(st.booleans())}


@given(bpe(), WORDS)
def test_bpe(model, words):
    cut_for(model, words)


@given(bpe(suffix="</w>"), WORDS)
def test_bpe_that_marks_ends_of_words(model, words):
    cut_for(model, words)


@given(bpe(prefix="##"), WORDS)
def test_bpe_that_marks_what_continues_a_word(model, words):
    cut_for(model, words)


@given(
    st.sets(st.text(ALPHABET, min_size=1, max_size=4), max_size=12),
    st.sets(st.text(ALPHABET, min_size=1, max_size=4), max_size=12),
    WORDS,
)
def test_wordpiece_whose_words_may_be_unknown(first, later, words):
    tokens = ["[UNK]", *sorted(first), *sorted("##" + token for token in later)]
    vocab = {token: at for at, token in enumerate(tokens)}
    cut_for(parts_of(models.WordPiece(vocab=vocab, unk_token=UNKNOWN)), words)


@given(
    st.dictionaries(st.text(ALPHABET, min_size=1, max_size=4), st.integers(-9, -1), max_size=16),
    st.lists(st.text(ALPHABET + "x", min_size=1, max_size=9), min_size=1, max_size=6),
)
def test_unigram_with_ties_and_unknown_characters(scores, words):
    model = {
        "type": "Unigram",
        "unk_id": 0,
        "byte_fallback": False,
        "vocab": [["<unk>", 0.0], *([piece, float(score)] for piece, score in scores.items())],
    }
    cut_for(model, words)


def test_an_unknown_word_stays_unknown_only_with_what_was_tried():
    vocab = {token: at for at, token in enumerate(["[UNK]", "ab", "a", "##bc"])}
    model = parts_of(models.WordPiece(vocab=vocab, unk_token=UNKNOWN))
    assert pieces(model, "abc") == ["[UNK]"]
    assert tried_pieces(model, "abc") == {"ab"}
    without = cut_model(model, {"[UNK]": 0, "a": 1, "##bc": 2})
    assert pieces(without, "abc") == ["a", "##bc"]
    assert "ab" in cut_for(model, ["abc", "a"])["vocab"]


def test_bytes_spell_what_characters_would():
    named = {f"<0x{value:02X}>": value for value in range(256)}
    vocab = named | {"a": 256, "b": 257, "ab": 258, "é": 259}
    model = parts_of(models.BPE(vocab=vocab, merges=[("a", "b")], byte_fallback=True))
    assert kept_tokens(model, {"ab"}) == {*named, "a", "b", "ab"}
    assert kept_tokens(model | {"byte_fallback": False}, set()) == {"a", "b", "é"}
    assert pieces(cut_for(model, ["ab"]), "é") == ["<0xC3>", "<0xA9>"]


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ({"type": "WordLevel", "vocab": {}}, "a tokenizer of pieces"),
        ({"type": "BPE", "vocab": {}, "merges": [], "dropout": 0.1}, "without dropout"),
    ],
)
def test_other_models_are_refused(model, problem):
    with pytest.raises(StageError, match=problem):
        vocabulary(model)
