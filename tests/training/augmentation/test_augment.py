import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from compress.core.batch import MIX_WEIGHT, MIX_WITH
from compress.data.images.transform import ImagePreprocessor
from compress.errors import StageError
from compress.training.augmentation.augment import Augmenter
from compress.training.augmentation.draws import uniform
from compress.training.augmentation.images import changed_images
from compress.training.augmentation.mixing import cutmix, mixed_embeddings
from compress.training.distributed.sharding import Sharding
from compress.training.options import Augment, TrainingOptions


class Masking:
    """A preprocessor with a tokenizer of which only the special tokens matter."""

    fingerprint = "0"

    class Tokenizer:
        mask_token_id = 4
        all_special_ids = (0, 1, 2, 4)

    tokenizer = Tokenizer()

    def save(self, directory):
        directory.mkdir(exist_ok=True)


def augmenter(seed=0, size=100, **options):
    more = {
        name: options.pop(name) for name in ("target", "classes", "sharding") if name in options
    }
    return Augmenter(Augment(**options), preprocessor=Masking(), seed=seed, size=size, **more)


def images(ids):
    pictures = torch.arange(100 * 48, dtype=torch.float32).reshape(100, 1, 6, 8)
    ids = torch.tensor(ids)
    return {"pixel_values": pictures[ids], "labels": ids % 10, "sample_ids": ids}


def texts(lengths, ids=None, *, left=False):
    longest = max(lengths)
    tokens, mask = torch.zeros(2, len(lengths), longest, dtype=torch.int64)
    for row, length in enumerate(lengths):
        where = slice(longest - length, None) if left else slice(length)
        tokens[row, where] = torch.tensor([1, *range(10, 8 + length), 2])
        mask[row, where] = 1
    ids = torch.tensor(ids or list(range(len(lengths))))
    return {"input_ids": tokens, "attention_mask": mask, "labels": ids % 3, "sample_ids": ids}


def test_draws_are_even_and_apart():
    drawn = uniform(7, torch.arange(20000)[:, None], torch.arange(3))
    assert drawn.min() >= 0
    assert drawn.max() < 1
    torch.testing.assert_close(drawn.mean(0), torch.full((3,), 0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(drawn.var(0), torch.full((3,), 1 / 12), atol=0.002, rtol=0)
    assert torch.corrcoef(drawn.T).fill_diagonal_(0).abs().max() < 0.03
    assert not torch.equal(drawn, uniform(8, torch.arange(20000)[:, None], torch.arange(3)))


def test_flips_mirror_about_half_of_the_images():
    pictures = torch.rand(400, 3, 4, 5)
    flipped = changed_images(pictures, torch.rand(400, 3), crop=0, flip=True)
    mirrored = (flipped == pictures.flip(3)).flatten(1).all(1)
    kept = (flipped == pictures).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 150 < mirrored.sum() < 250


@given(crop=st.integers(1, 3), height=st.integers(4, 7), width=st.integers(4, 7))
def test_crops_equal_padding_with_the_border_and_cropping(crop, height, width):
    pictures = torch.rand(16, 2, height, width)
    shifted = changed_images(pictures, torch.rand(16, 3), crop=crop, flip=False)
    padded = nn.functional.pad(pictures, (crop,) * 4, mode="replicate")
    for one, wide in zip(shifted, padded, strict=True):
        crops = [
            wide[:, top : top + height, left : left + width]
            for top in range(2 * crop + 1)
            for left in range(2 * crop + 1)
        ]
        assert any(torch.equal(one, candidate) for candidate in crops)


def test_what_is_not_a_batch_of_images_is_refused():
    with pytest.raises(StageError, match=r"needs images of shape \(N, C, H, W\)\. Got \(2, 8\)"):
        changed_images(torch.rand(2, 8), torch.rand(2, 3), crop=0, flip=True)


@given(order=st.permutations(range(12)), split=st.integers(1, 11))
def test_a_sample_changes_alike_in_any_batch(order, split):
    change = augmenter(crop=2, flip=True)
    together = change(images(list(range(12))), epoch=3)["pixel_values"]
    for ids in (order[:split], order[split:]):
        assert torch.equal(change(images(ids), epoch=3)["pixel_values"], together[list(ids)])


def test_epochs_seeds_and_samples_change_differently():
    batch = images(list(range(60)))
    batch["pixel_values"] = batch["pixel_values"][:1].expand(60, 1, 6, 8)
    first = augmenter(crop=2, flip=True)(batch, epoch=0)
    assert len(first["pixel_values"].flatten(1).unique(dim=0)) > 20
    assert not torch.equal(
        first["pixel_values"], augmenter(crop=2, flip=True)(batch, epoch=1)["pixel_values"]
    )
    assert not torch.equal(
        first["pixel_values"], augmenter(seed=1, crop=2, flip=True)(batch, epoch=0)["pixel_values"]
    )
    assert torch.equal(first["sample_ids"], batch["sample_ids"])


def test_variants_come_again_and_have_ids_of_their_own():
    change, batch = augmenter(crop=2, flip=True, variants=3, size=1000), images([5, 7])
    assert change.variants == 3
    epochs = [change(batch, epoch=epoch) for epoch in range(6)]
    for number, (first, again) in enumerate(zip(epochs[:3], epochs[3:], strict=True)):
        assert torch.equal(first["pixel_values"], again["pixel_values"])
        assert torch.equal(first["pixel_values"], change.variant(batch, number)["pixel_values"])
        assert first["sample_ids"].tolist() == [1000 * number + 5, 1000 * number + 7]
    assert not torch.equal(epochs[0]["pixel_values"], epochs[1]["pixel_values"])


def test_how_many_variants_there_are():
    assert Augmenter(None, preprocessor=Masking(), seed=0, size=9).variants == 1
    assert augmenter(variants=4).variants == 1, "nothing changes"
    assert augmenter(flip=True).variants is None
    assert augmenter(mixup=1.0, target="class", classes=10).variants is None
    with pytest.raises(ValidationError, match="'variants' must be null where samples are mixed"):
        Augment(mixup=1.0, variants=2)


@given(left=st.booleans(), extra=st.integers(0, 5))
def test_masked_tokens_are_words_and_do_not_depend_on_padding(left, extra):
    change = augmenter(mask_tokens=0.5)
    alone = change(texts([12], [3]), epoch=1)["input_ids"][0]
    padded = change(texts([12, 12 + extra], [3, 4], left=left), epoch=1)["input_ids"][0]
    assert torch.equal(padded[extra:] if left else padded[:12], alone)
    assert not padded[:extra].any() if left else not padded[12:].any()
    assert alone[0] == 1
    assert alone[-1] == 2


def test_about_as_many_tokens_are_masked_as_asked():
    batch = texts([66] * 50)
    masked = augmenter(mask_tokens=0.15)(batch, epoch=0)["input_ids"]
    share = (masked == 4).sum() / (64 * 50)
    assert 0.12 < share < 0.18
    assert torch.equal(masked.where(masked != 4, batch["input_ids"]), batch["input_ids"])


def test_masking_needs_a_mask_token():
    with pytest.raises(StageError, match="needs a tokenizer with a mask token"):
        Augmenter(Augment(mask_tokens=0.1), preprocessor=ImagePreprocessor(), seed=0, size=1)


def test_mixup_blends_images_and_labels_alike():
    # Each sample's class and its pixels are its number, so that the label tells the pixels.
    numbers = torch.arange(20)
    batch = {
        "pixel_values": numbers.float()[:, None, None, None].expand(20, 1, 2, 2),
        "labels": numbers,
        "sample_ids": numbers,
    }
    mixed = augmenter(mixup=2.0, target="class", classes=20)(batch, epoch=0)
    torch.testing.assert_close(mixed["labels"].sum(1), torch.ones(20))
    assert (mixed["labels"] > 0).sum(1).max() == 2
    torch.testing.assert_close(mixed["pixel_values"][:, 0, 1, 1], mixed["labels"] @ numbers.float())


@given(share=st.floats(0, 1), top=st.floats(0, 1), left=st.floats(0, 1))
def test_cutmix_tells_the_share_that_is_left(share, top, left):
    own, others = torch.zeros(2, 3, 8, 10), torch.ones(2, 3, 8, 10)
    made, really = cutmix(own, others, share, centre=(top, left))
    assert really == pytest.approx(1 - made.mean().item(), abs=1e-6)
    assert torch.equal(made[0], made[1])
    assert own.sum() == 0


def test_an_unlabelled_sample_makes_its_mixtures_unlabelled():
    batch = images(list(range(8)))
    batch["labels"][0] = -100
    mixed = augmenter(cutmix=1.0, target="class", classes=10)(batch, epoch=0)["labels"]
    assert sorted(mixed.sum(1).round(decimals=4).tolist())[:2] in ([0.0, 0.0], [0.0, 1.0])
    sets = batch | {"labels": torch.ones(8, 3)}
    sets["labels"][0] = -1
    mixed = augmenter(mixup=1.0, target="class-set")(sets, epoch=0)["labels"]
    assert set(mixed.flatten().round(decimals=4).tolist()) == {-1.0, 1.0}


def test_embeddings_are_mixed_with_the_partner_within_a_slice():
    change = augmenter(mix_embeddings=1.0, target="class", classes=3, sharding=Sharding(1, 2))
    batch = change(texts([4, 6, 5, 3, 6, 4]), epoch=2)
    assert set(batch[MIX_WITH][:3].tolist()) == {0, 1, 2}
    own, _ = Sharding(1, 2).cut(batch)
    assert set(own[MIX_WITH].tolist()) == {0, 1, 2}
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(20, 4))
    plain = module(own["input_ids"])
    with mixed_embeddings(module, own):
        mixed = module(own["input_ids"])
    share = own[MIX_WEIGHT][:, None, None]
    torch.testing.assert_close(mixed, share * plain + (1 - share) * plain[own[MIX_WITH]])
    assert torch.equal(module(own["input_ids"]), plain), "the hook is gone"
    whole = batch["attention_mask"]
    assert (whole >= texts([4, 6, 5, 3, 6, 4])["attention_mask"]).all()
    with mixed_embeddings(module, {"input_ids": own["input_ids"]}):
        assert torch.equal(module(own["input_ids"]), plain)


@pytest.mark.parametrize(
    ("augment", "modality", "target", "message"),
    [
        ({"flip": True}, "text", "class", "are for images. Got texts"),
        ({"mask_tokens": 0.1}, "image", "class", "are for texts. Got images"),
        ({"mix_embeddings": 0.1}, "text", "token-class", "one label or label set"),
    ],
)
def test_misfits_are_told_before_the_work(augment, modality, target, message):
    options = TrainingOptions(augment=augment)
    [(key, problem)] = options.misfits(modality=modality, target=target)
    assert key == "augment"
    assert message in problem
    assert not list(TrainingOptions().misfits(modality=modality, target=target))
