"""Data made of Python's own library: the same on every run, and real."""

import ast
import tokenize

import pytest

from compress.data.sources.docstrings import docstrings_of, first_sentence, load_docstrings
from compress.data.sources.library import library_files, split_of
from compress.data.sources.source_lines import tagged_lines

CODE = '''\
"""What it is. And more."""


class Thing:
    def method(self, size=1.5):
        """Do it.

        At length."""
        return "two words" if not size else 7  # a remark
'''


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "thing.py"
    path.write_text(CODE, encoding="utf-8")
    return path


def test_docstrings(source):
    found = list(docstrings_of(source))
    assert found == ["What it is. And more.", "Do it.\n\nAt length."]
    assert [first_sentence(text) for text in found] == ["What it is.", "Do it."]
    assert first_sentence("No end\n\nof it") == "No end"


def test_tags_are_those_of_pythons_tokenizer(source):
    lines = [dict(line) for line in tagged_lines(source)]
    assert [" ".join(line) for line in lines][1] == "class Thing :"
    assert lines[1] == {"class": "B-KEYWORD", "Thing": "B-DEFINITION", ":": "O"}
    assert lines[2]["method"] == "B-DEFINITION"
    assert lines[2]["self"] == "O"
    line = list(tagged_lines(source))[-1]
    assert [tag for word, tag in line if word in ("two", "words")] == ["I-STRING", "I-STRING"]
    assert ("7", "B-NUMBER") in line
    assert line[-3:] == [("#", "B-COMMENT"), ("a", "I-COMMENT"), ("remark", "I-COMMENT")]
    number = [tag for word, tag in list(tagged_lines(source))[2] if word in ("1", ".", "5")]
    assert number == ["B-NUMBER", "I-NUMBER", "I-NUMBER"]


def test_files_of_the_library_are_in_three_splits():
    files = list(library_files())
    assert files == list(library_files())
    counts = {split: sum(name == split for name, _ in files) for split, _ in files}
    assert set(counts) == {"train", "validation", "test"}
    assert 0.6 < counts["train"] / len(files) < 0.95
    assert all(path.suffix == ".py" for _, path in files)
    assert not any("test" in path.parts for _, path in files)
    assert split_of("heapq.py") == split_of("json/decoder.py") == "train"
    ast.parse(files[0][1].read_bytes())
    with tokenize.open(files[0][1]) as file:
        assert file.read()


def test_no_text_is_in_two_splits():
    splits = load_docstrings(part="first_sentence")
    texts = [sample["text"] for samples in splits.values() for sample in samples]
    assert len(texts) == len(set(texts)) > 1000
