import gzip
import struct

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path_factory, monkeypatch):
    """`datasets` writes its Arrow files into a folder of the test."""
    import datasets

    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder


@pytest.fixture
def write_idx():
    """Write images and labels as IDX files with a prefix."""

    def write(folder, prefix, images, labels, *, zipped=False):
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            array = np.asarray(array, np.uint8)
            content = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            content += array.tobytes()
            path = folder / f"{prefix}-{name}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content) if zipped else content)

    return write


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory):
    """A WordPiece tokenizer of a few words, saved as a model's folder has it."""
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = BertTokenizer(vocab={word: at for at, word in enumerate(words)})
    tokenizer.model_max_length = 24
    tokenizer.save_pretrained(folder)
    return folder
