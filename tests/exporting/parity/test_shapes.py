"""Parity is looked at for several batch sizes and lengths, each told by itself."""

import numpy as np
import torch

from compress.data.texts.full_length import filled_up
from compress.exporting.parity.compare import compare
from compress.exporting.parity.shape_sweep import shape_sweep
from tests.exporting.samples import images, texts


def _shapes(batches, key):
    return [tuple(batch[key].shape) for batch in batches]


def test_texts_get_shorter_and_fewer():
    by_shape = shape_sweep([texts(16, 40)], [texts(16, 20), texts(9, 20)], modality="text")
    assert _shapes(by_shape, "input_ids") == [(1, 10), (3, 20), (12, 40), (9, 20)]


def test_texts_that_are_cut_keep_their_last_token():
    batch = texts(5, 12, padding=4)
    batch["input_ids"][:, 11] = 99
    one, three, *_ = shape_sweep([batch], [batch], modality="text")
    assert one["input_ids"].tolist() == [[*batch["input_ids"][0, :3].tolist(), 99]]
    assert three["input_ids"][:, -1].tolist() == [99] * 3
    assert batch["input_ids"][:, 3:8].ne(99).all()


def test_texts_padded_on_the_left_are_cut_there():
    batch = {name: values.flip(1) for name, values in texts(5, 3, padding=17).items()}
    one, three, whole, filled = shape_sweep([batch], [batch], modality="text")
    assert one["input_ids"].equal(batch["input_ids"][:1, 15:])
    assert three["attention_mask"].sum(1).tolist() == [3, 3, 3]
    assert whole["input_ids"].shape == (1, 20)
    assert filled["attention_mask"].all()


def test_a_text_that_is_cut_keeps_its_last_token():
    batch = texts(5, 13, padding=3)
    one, three, *_ = shape_sweep([batch], [batch], modality="text")
    assert one["input_ids"].tolist() == [[*batch["input_ids"][0, :3], batch["input_ids"][0, 12]]]
    assert three["input_ids"][:, -1].equal(batch["input_ids"][1:4, 12])
    assert three["attention_mask"].all()
    short = {name: values[:, :8] for name, values in texts(5, 3, padding=13).items()}
    one, *_ = shape_sweep([short], [short], modality="text")
    assert one["input_ids"].equal(short["input_ids"][:1, [0, 2]])


def test_the_full_length_is_tried_with_real_tokens():
    batch = texts(5, 3, padding=5)
    *_, filled = shape_sweep([batch], [batch], modality="text")
    real = batch["input_ids"][0, batch["attention_mask"][0].bool()].tolist()
    assert filled["input_ids"].tolist() == [[*real, *real, *real][:8]]
    assert filled["attention_mask"].tolist() == [[1] * 8]


def test_a_text_without_tokens_stays_padding():
    batch = texts(1, 4)
    batch["attention_mask"][:] = 0
    assert filled_up(batch)["input_ids"].equal(batch["input_ids"])
    assert not filled_up(batch)["attention_mask"].any()


def test_few_samples_still_give_a_full_length():
    for count, wanted in ((1, [(1, 2), (1, 8)]), (2, [(1, 2), (1, 8)]), (4, [(1, 2), (3, 8)])):
        assert _shapes(shape_sweep([texts(count, 8)], [], modality="text"), "input_ids") == wanted
    assert list(shape_sweep([], [], modality="text")) == []


def test_images_vary_in_number_and_where_asked_in_size():
    batch = {**images(16), "labels": torch.arange(16)}
    by_shape = list(shape_sweep([batch], [batch], modality="image", other_size=True))
    assert _shapes(by_shape, "pixel_values") == [
        (1, 1, 8, 8),
        (3, 1, 8, 8),
        (12, 1, 8, 8),
        (2, 1, 12, 10),
    ]
    assert torch.cat([rung["labels"] for rung in by_shape[:3]]).tolist() == list(range(16))


def test_each_shape_is_told():
    def off(batch):
        return np.full(
            (len(batch["pixel_values"]), 3), 0.5 if len(batch["pixel_values"]) == 3 else 0
        )

    def zero(batch):
        return np.zeros((len(batch["pixel_values"]), 3))

    found = compare(zero, off, batches=[images(1), images(3), images(3)])
    assert [rung.shape for rung in found.by_shape] == ["1 of 8x8", "3 of 8x8"]
    assert [rung.parity.samples for rung in found.by_shape] == [1, 6]
    assert str(found) == (
        "max error 5.0e-01, mean 4.3e-01, top-1 agreement 100.0% on 7 samples "
        "(1 of 8x8: 0.0e+00, 0.0e+00, 100.0%; 3 of 8x8: 5.0e-01, 5.0e-01, 100.0%)"
    )
