"""Whole tokenizers with fewer tokens: the same pieces, other texts, files, and what is refused."""

import json

import numpy as np
import pytest

from compress.core.progress import Silent
from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.data.texts.encode import ORIGINAL_IDS
from compress.data.vocabulary.cut import backend_of, choose_tokens, cut_tokenizer
from compress.data.vocabulary.use import require_same_pieces, texts_of, used_tokens, whole_ids
from compress.errors import StageError
from compress.tasks.task import task
from tests.data import entries as data_sources
from tests.data.vocabulary.tokenizers import KINDS, SENTENCES, STRANGE, USED, preprocessor

TASK = task("text-classification")
SPEC = DataSpec(python="tests.data.entries:load")


def data(samples=USED, *, monkeypatch, of=TASK):
    rows = [one if isinstance(one, dict) else {"text": one, "label": "a"} for one in samples]
    monkeypatch.setattr(data_sources, "SAMPLES", {"train": rows, "test": rows[:2]})
    return load_data(SPEC, task=of, labels=(), seed=0)


def cut(old, texts, *, also=()):
    backend = backend_of(old)
    words = backend["model"]["type"] == "WordPiece"
    use = used_tokens(texts, old.tokenizer, words=words, progress=Silent())
    choice = choose_tokens(backend, use, ids=old.tokenizer.get_vocab(), also=also)
    return choice, cut_tokenizer(old, backend, choice)


@pytest.mark.parametrize("kind", KINDS)
def test_the_data_comes_out_the_same_and_other_texts_come_out(kind, monkeypatch, tmp_path):
    old = preprocessor(kind)
    texts = texts_of(data(monkeypatch=monkeypatch), extra=None, task=TASK)
    choice, new = cut(old, texts)
    assert len(choice.tokens) < 0.9 * len(old.tokenizer)
    assert len(new.tokenizer) == len(choice.tokens)
    assert new.fingerprint != old.fingerprint
    original = np.array(choice.original)
    require_same_pieces(texts, old.tokenizer, new.tokenizer, original=original, progress=Silent())
    for name in ("pad_token", "eos_token", "unk_token", "mask_token", "cls_token", "padding_side"):
        assert getattr(new.tokenizer, name) == getattr(old.tokenizer, name)
    for text in [*STRANGE, *SENTENCES]:
        ids = new.tokenizer(text)["input_ids"]
        assert all(0 <= one < len(choice.tokens) for one in ids)
        assert (len(ids) > 2) >= (len(old.tokenizer(text)["input_ids"]) > 2)
    new.save(tmp_path)
    reading = task("text-generation") if kind == "Llama" else TASK
    again = load_preprocessor(
        str(tmp_path), task=reading, spec=DataSpec(python="a:b", max_length=32)
    )
    assert again.fingerprint == new.fingerprint
    assert again.original_ids == new.original_ids == tuple(choice.original)
    assert "vocab.txt" not in {path.name for path in tmp_path.iterdir()}
    assert old(USED[:3])["input_ids"].tolist() == original[new(USED[:3])["input_ids"]].tolist()


@pytest.mark.parametrize("kind", ["byte-level", "byte fallback", "unigram"])
def test_text_that_bytes_or_characters_spell_reads_back(kind, monkeypatch):
    old = preprocessor(kind)
    _, new = cut(old, texts_of(data(monkeypatch=monkeypatch), extra=None, task=TASK))
    text = "a remembered translation" if kind == "unigram" else "Zürich 東京 🙂"
    ids = new.tokenizer(text)["input_ids"]
    assert new.tokenizer.decode(ids, skip_special_tokens=True).strip() == text


def test_special_tokens_stay_and_numbers_are_dense(monkeypatch):
    old = preprocessor("ends of words")
    _, new = cut(old, texts_of(data(monkeypatch=monkeypatch), extra=None, task=TASK))
    ids = new.tokenizer.get_vocab()
    assert sorted(ids.values()) == list(range(len(ids)))
    assert ids["<shop>"] == len(ids) - 1  # the model itself doesn't know it
    assert new.tokenizer("a <shop> b")["input_ids"].count(ids["<shop>"]) == 1
    old_ids = old.tokenizer.get_vocab()
    assert sorted(ids, key=ids.get) == sorted(ids, key=old_ids.get)


def test_ids_of_the_model_that_no_token_has_come_last(monkeypatch):
    old = preprocessor("byte-level")
    texts = texts_of(data(monkeypatch=monkeypatch), extra=None, task=TASK)
    unused = len(old.tokenizer) - 1
    choice, new = cut(old, texts, also={unused, 9999})
    assert choice.original[-1] == 9999
    assert len(choice.original) == len(new.tokenizer) + 1
    assert old.tokenizer.convert_ids_to_tokens(unused) in new.tokenizer.get_vocab()


def test_cut_twice_the_first_ids_are_remembered(monkeypatch):
    old = preprocessor("wordpiece")
    _, first = cut(old, texts_of(data(monkeypatch=monkeypatch), extra=None, task=TASK))
    few = data(USED[:8], monkeypatch=monkeypatch)
    _, second = cut(first, texts_of(few, extra=None, task=TASK))
    assert len(second.tokenizer) < len(first.tokenizer)
    found = [second.original_ids[one] for one in second.tokenizer(USED[0])["input_ids"]]
    assert found == old.tokenizer(USED[0])["input_ids"]


def test_texts_are_read_whole_in_pairs_and_as_words(monkeypatch):
    old = preprocessor("byte-level")
    pairs = data(
        [{"text": "again " * 99 + "fisherman", "text_pair": one, "label": "a"} for one in USED],
        monkeypatch=monkeypatch,
    )
    rows = pairs.splits["train"].rows
    rows.columns["text_pair"] = "text_pair"
    texts = texts_of(pairs, extra=None, task=TASK)
    [_, _, columns], *_ = texts.chunks(Silent(), "")
    assert set(columns) == {"text", "text_pair"}
    assert min(map(len, whole_ids(old.tokenizer, columns))) > 99 > old.max_length
    tagging = task("token-classification")
    words = [{"tokens": one.split(), "label": ["O"] * len(one.split())} for one in USED]
    texts = texts_of(data(words, monkeypatch=monkeypatch, of=tagging), extra=None, task=tagging)
    tagger = preprocessor("wordpiece")
    choice, new = cut(tagger, texts)
    before, after = (one.encode_words([words[0]["tokens"]]) for one in (tagger, new))
    assert before[1] == after[1]
    assert len(texts) == len(USED) + 2
    assert choice.original[new.tokenizer.pad_token_id] == tagger.tokenizer.pad_token_id


def test_calibration_drawn_from_train_is_read_once(monkeypatch):
    loaded = data(monkeypatch=monkeypatch)
    texts = texts_of(loaded, extra=None, task=TASK)
    assert [part.name for part in texts.parts] == ["train", "validation", "test"]
    assert len(texts) == len(USED) + 2


def test_extra_texts_keep_their_tokens(monkeypatch):
    old = preprocessor("byte-level")
    loaded = data(USED[:3], monkeypatch=monkeypatch)
    more = [{"text": one} for one in SENTENCES]
    monkeypatch.setattr(data_sources, "OTHER", {"train": more})
    extra = DataSpec(python="tests.data.entries:load_other", limit={"train": len(more) - 1})
    texts = texts_of(loaded, extra=extra, task=TASK)
    assert str(texts).endswith(f"extra train {len(more) - 1}")
    fewer, _ = cut(old, texts_of(loaded, extra=None, task=TASK))
    choice, _ = cut(old, texts)
    assert set(fewer.tokens) < set(choice.tokens)


def test_other_pieces_are_found_with_their_row(monkeypatch):
    old = preprocessor("byte-level")
    texts = texts_of(data(monkeypatch=monkeypatch), extra=None, task=TASK)
    few = texts_of(data(USED[:2], monkeypatch=monkeypatch), extra=None, task=TASK)
    choice, new = cut(old, few)
    with pytest.raises(StageError, match=r"other pieces of row \d+ of 'train' \('"):
        require_same_pieces(
            texts,
            old.tokenizer,
            new.tokenizer,
            original=np.array(choice.original),
            progress=Silent(),
        )


def test_slow_tokenizers_and_strange_frames_are_refused(monkeypatch):
    class Slow:
        tokenizer = type("SlowTokenizer", (), {"is_fast": False})()

    with pytest.raises(StageError, match=r"a fast one.*SlowTokenizer"):
        backend_of(Slow())
    old = preprocessor("byte-level")
    backend = backend_of(old) | {"post_processor": {"type": "Strange"}}
    texts = texts_of(data(monkeypatch=monkeypatch), extra=None, task=TASK)
    use = used_tokens(texts, old.tokenizer, words=False, progress=Silent())
    with pytest.raises(StageError, match="post-processor"):
        choose_tokens(backend, use, ids=old.tokenizer.get_vocab(), also=())


def test_the_file_of_original_ids_is_written_only_after_a_cut(tmp_path, monkeypatch):
    old = preprocessor("wordpiece")
    old.save(tmp_path / "old")
    assert not (tmp_path / "old" / ORIGINAL_IDS).exists()
    choice, new = cut(old, texts_of(data(monkeypatch=monkeypatch), extra=None, task=TASK))
    new.save(tmp_path / "new")
    assert json.loads((tmp_path / "new" / ORIGINAL_IDS).read_text()) == choice.original
