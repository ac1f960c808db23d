import numpy as np
import pytest
import torch

from compress.distillation.answers import TopK
from compress.distillation.cache import filling
from compress.distillation.cache.arrays import Kept
from compress.distillation.cache.open import MOST, open_cache
from compress.errors import InputError, StageError
from compress.training.augmentation.augment import Augmenter
from compress.training.options import Augment
from tests.distillation.cache import fills
from tests.distillation.cache.models import (
    CLASSES,
    Data,
    Preprocessor,
    Teacher,
    augmenter_for,
    context_for,
)
from tests.launching import forked, launch_two

WHOLE = Kept(logits=True, features=("hidden", "pooled"))


def opened(teacher, data, directory, *, kept=WHOLE, seed=0, batch_size=4, **options):
    return open_cache(
        teacher,
        kept=kept,
        context=context_for(teacher, data, directory, shared=directory / "shared", seed=seed),
        preprocessor=Preprocessor(),
        augmenter=augmenter_for(data, **options),
        batch_size=batch_size,
        arithmetic={"precision": "fp32", "bits": None},
    )


def batches(data, seed=3):
    return data.loader("train", Preprocessor(), batch_size=6, shuffle_seed=seed, sample_ids=True)


def real(values, batch):
    if "attention_mask" in batch and values.ndim == 3:
        return values[batch["attention_mask"].bool()]
    return values


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 0.0), ("fp16", 1e-3)])
def test_cached_answers_are_the_live_ones(tmp_path, left, per_token, dtype, tolerance):
    data, teacher = Data("text", left=left), Teacher(per_token=per_token)
    kept = Kept(logits=True, features=("hidden", "pooled"), dtype=dtype)
    cached = opened(teacher, data, tmp_path, kept=kept)
    for batch in batches(data):
        live, got = teacher(batch), cached(batch)
        assert got.logits.shape == live.logits.shape
        pairs = [(live.logits, got.logits)]
        pairs += [(live.features[name], got.features[name]) for name in kept.features]
        for wanted, found in pairs:
            # The batch's padding changes the last bit of a live answer; nothing else may.
            torch.testing.assert_close(
                real(found, batch), real(wanted, batch), rtol=tolerance, atol=tolerance + 1e-6
            )
            padding = ~batch["attention_mask"].bool()
            if found.ndim == 3:
                assert (found[padding] == 0).all()


def test_images_and_feature_maps(tmp_path):
    data, teacher = Data("image"), Teacher()
    cached = opened(teacher, data, tmp_path, kept=Kept(logits=True, features=("map",)))
    for batch in batches(data):
        assert torch.equal(cached(batch).features["map"], teacher(batch).features["map"])


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("k", [1, 3, CLASSES])
def test_the_tail_holds_the_mass_of_the_others(tmp_path, per_token, k):
    data, teacher = Data("text"), Teacher(per_token=per_token)
    kept = Kept(logits=True, top_k=k, temperature=2.0)
    cached = opened(teacher, data, tmp_path, kept=kept)
    for batch in batches(data):
        live, top = teacher(batch).logits, cached(batch).logits
        assert isinstance(top, TopK)
        together = torch.cat([top.logits / 2, top.tail[..., None]], -1).logsumexp(-1)
        wanted = (live / 2).logsumexp(-1)
        mask = batch["attention_mask"].bool()
        pick = (lambda values, mask=mask: values[mask]) if per_token else (lambda values: values)
        torch.testing.assert_close(pick(together), pick(wanted))
        torch.testing.assert_close(pick(live.gather(-1, top.indices)), pick(top.logits))
        if k == CLASSES:
            assert (pick(top.tail) == -torch.inf).all()


def test_a_second_stage_takes_it_from_disk(tmp_path):
    data = Data("text")
    first, second = Teacher(), Teacher()
    assert "computed" in opened(first, data, tmp_path).notes[0]
    cached = opened(second, data, tmp_path)
    assert "taken from disk" in cached.notes[0]
    assert "largest difference: logits" in cached.notes[1]
    assert second.asked == 1, "only to compare"
    assert first.asked > 1


@pytest.mark.parametrize("answers", [1, 4])
def test_a_killed_fill_goes_on_where_it_was(tmp_path, answers):
    with forked(fills.killed, tmp_path / "shared", answers, folder=tmp_path) as process:
        assert process.wait().returncode == -9
    data, teacher = Data("text"), Teacher(per_token=True)
    cached = open_cache(
        teacher,
        kept=WHOLE,
        context=context_for(teacher, data, tmp_path, shared=tmp_path / "shared"),
        preprocessor=Preprocessor(),
        augmenter=augmenter_for(data),
        batch_size=4,
        arithmetic={},
    )
    assert f"{4 * answers} taken from disk, {23 - 4 * answers} computed" in cached.notes[0]
    assert teacher.asked == 6 - answers + 1
    for batch in batches(data):
        wanted = real(teacher(batch).logits, batch)
        torch.testing.assert_close(real(cached(batch).logits, batch), wanted)


def rows_of(directory):
    (found,) = (path for path in (directory / "shared" / "teacher").iterdir() if path.is_dir())
    return found


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "0.rows").write_bytes((folder / "0.rows").read_bytes()[:-3]),
        lambda folder: (folder / "1.rows").unlink(),
        lambda folder: (folder / "log").write_bytes((folder / "log").read_bytes()[:-1]),
        lambda folder: (folder / "arrays.json").write_text("{"),
        lambda folder: flip(folder / "0.rows"),
        lambda folder: flip(folder / "log"),
        lambda folder: (folder / "0.rows").open("ab").write(b"left over"),
    ],
)
def test_what_is_damaged_is_found_and_done_again(tmp_path, damage, monkeypatch):
    monkeypatch.setattr(filling, "COMMIT_BYTES", 0)
    data, teacher = Data("text"), Teacher()
    opened(teacher, data, tmp_path)
    damage(rows_of(tmp_path))
    cached = opened(teacher, data, tmp_path)
    for batch in batches(data):
        torch.testing.assert_close(cached(batch).logits, teacher(batch).logits)
    again = Teacher()
    opened(again, data, tmp_path)
    assert again.asked == 1


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_each_variant_has_answers_of_its_own(tmp_path):
    data, teacher = Data("image"), Teacher()
    cached = opened(teacher, data, tmp_path, kept=Kept(logits=True), crop=2, variants=3)
    augmenter = augmenter_for(data, crop=2, variants=3)
    seen = []
    for epoch in range(4):
        for batch in batches(data, seed=epoch):
            changed = augmenter(batch, epoch=epoch)
            torch.testing.assert_close(cached(changed).logits, teacher(changed).logits)
            seen.append(changed["sample_ids"])
    assert torch.cat(seen).unique().numel() == 3 * 23
    assert "23 samples in 3 variants" in cached.notes[0]


@pytest.mark.parametrize("options", [{"crop": 1}, {"crop": 1, "flip": True}])
def test_unseeded_augmentation_is_refused(tmp_path, options):
    with pytest.raises(StageError, match=r"Set 'augment\.variants' to a number"):
        opened(Teacher(), Data("image"), tmp_path, **options)


def test_mixing_samples_is_refused(tmp_path):
    data, teacher = Data("image"), Teacher()
    mixing = Augmenter(
        Augment(mixup=0.2),
        preprocessor=Preprocessor(),
        seed=0,
        size=23,
        target="class",
        classes=CLASSES,
    )
    with pytest.raises(StageError, match="without mixing"):
        open_cache(
            teacher,
            kept=WHOLE,
            context=context_for(teacher, data, tmp_path),
            preprocessor=Preprocessor(),
            augmenter=mixing,
            batch_size=4,
            arithmetic={},
        )


def test_numbers_beyond_fp16_are_refused(tmp_path):
    with pytest.raises(StageError, match="Use 'dtype: fp32'"):
        opened(Teacher(scale=1e6), Data("text"), tmp_path, kept=Kept(logits=True, dtype="fp16"))


def test_more_logits_than_there_are_classes_are_refused(tmp_path):
    with pytest.raises(StageError, match=r"'top_k' must be at most the teacher's 7 logits"):
        opened(Teacher(), Data("text"), tmp_path, kept=Kept(logits=True, top_k=8))


@pytest.mark.parametrize("what", ["weights", "data", "preprocessing", "kept", "bits"])
def test_other_answers_are_never_taken_for_these(tmp_path, what):
    data, teacher, kept, arithmetic = Data("text"), Teacher(), WHOLE, {"bits": None}
    preprocessor = Preprocessor()
    opened(teacher, data, tmp_path)
    if what == "weights":
        with torch.no_grad():
            teacher.module["head"].bias += 1
    elif what == "data":
        data.fingerprint = "others"
    elif what == "preprocessing":
        preprocessor.fingerprint = "others"
    elif what == "kept":
        kept = Kept(logits=True)
    else:
        arithmetic = {"bits": 8}
    teacher.asked = 0
    cached = open_cache(
        teacher,
        kept=kept,
        context=context_for(teacher, data, tmp_path, shared=tmp_path / "shared"),
        preprocessor=preprocessor,
        augmenter=augmenter_for(data),
        batch_size=4,
        arithmetic=arithmetic,
    )
    assert teacher.asked == 7
    kinds = {path.name.split("-")[0] for path in (tmp_path / "shared/teacher").iterdir()}
    assert len(kinds) == 1, "answers of another teacher, or to other data, are removed"
    batch = batches(data)[0]
    torch.testing.assert_close(cached(batch).logits, teacher(batch).logits)


def test_no_more_than_the_last_few_are_kept(tmp_path):
    data, teacher = Data("text"), Teacher()
    for k in range(1, CLASSES + 1):
        opened(teacher, data, tmp_path, kept=Kept(logits=True, top_k=k))
    folders = [path for path in (tmp_path / "shared" / "teacher").iterdir() if path.is_dir()]
    assert len(folders) == MOST
    teacher.asked = 0
    opened(teacher, data, tmp_path, kept=Kept(logits=True, top_k=CLASSES))
    assert teacher.asked == 1


def test_a_teacher_that_changed_under_its_key_is_refused(tmp_path):
    data, teacher = Data("text"), Teacher()
    opened(teacher, data, tmp_path)
    teacher.scale = 1.1
    with pytest.raises(StageError, match=r"differ from the live one's by .* more than rounding"):
        opened(teacher, data, tmp_path)


def test_unknown_samples_are_refused(tmp_path):
    data, teacher = Data("text"), Teacher()
    cached = opened(teacher, data, tmp_path)
    batch = batches(data)[0]
    with pytest.raises(StageError, match="answers of 23 samples are kept"):
        cached({**batch, "sample_ids": batch["sample_ids"] + 23})
    with pytest.raises(StageError, match="needs 'sample_ids'"):
        cached({"input_ids": batch["input_ids"]})
    longer = torch.ones_like(batch["attention_mask"])
    with pytest.raises(StageError, match="other tokens"):
        cached({**batch, "attention_mask": longer})


def test_an_interrupted_fill_keeps_what_it_has(tmp_path):
    data = Data("text")

    class Interrupted(Teacher):
        def __call__(self, batch):
            if self.asked == 3:
                raise KeyboardInterrupt
            return super().__call__(batch)

    with pytest.raises(KeyboardInterrupt):
        opened(Interrupted(), data, tmp_path)
    assert "12 taken from disk, 11 computed" in opened(Teacher(), data, tmp_path).notes[0]


def test_without_a_shared_folder_it_lies_in_the_stages_own(tmp_path):
    data, teacher = Data("text"), Teacher()
    open_cache(
        teacher,
        kept=WHOLE,
        context=context_for(teacher, data, tmp_path),
        preprocessor=Preprocessor(),
        augmenter=augmenter_for(data),
        batch_size=4,
        arithmetic={},
    )
    assert list((tmp_path / "teacher").glob("*/log"))


def test_bytes_are_those_on_disk(tmp_path):
    data, teacher = Data("text"), Teacher()
    cached = opened(teacher, data, tmp_path, kept=Kept(logits=True))
    folder = rows_of(tmp_path)
    total = sum(path.stat().st_size for path in folder.iterdir())
    assert f"{total:,} bytes on disk" in cached.notes[0]
    assert (folder / "0.rows").stat().st_size == 23 * CLASSES * np.dtype("float32").itemsize


@pytest.mark.slow
def test_of_two_processes_one_asks_and_both_read(tmp_path):
    for ended in launch_two(fills.one_of_several, tmp_path, folder=tmp_path):
        assert ended.returncode == 0, ended.stderr
    said = sorted((tmp_path / f"said-{index}").read_text() for index in (0, 1))
    assert said == ["0  computed", "7  computed"]


def test_a_later_versions_index_is_refused(tmp_path):
    opened(Teacher(), Data("text"), tmp_path)
    (rows_of(tmp_path) / "arrays.json").write_text('{"schema": 2}')
    with pytest.raises(InputError, match=r"arrays\.json was written by a later version"):
        opened(Teacher(), Data("text"), tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", "[" * 50_000, "\0\1", None])
def test_an_index_that_cant_be_trusted_is_begun_anew_with_a_note(tmp_path, content):
    opened(Teacher(), Data("text"), tmp_path)
    index = rows_of(tmp_path) / "arrays.json"
    if content is None:
        content = index.read_text().replace('"logits"', '"logitz"')
    index.write_text(content)
    teacher = Teacher()
    cached = opened(teacher, Data("text"), tmp_path)
    assert "computed; " in cached.notes[0]
    assert "bytes there weren't whole" in cached.notes[0]
    assert teacher.asked > 1


def test_what_others_put_among_the_caches_stays(tmp_path):
    opened(Teacher(), Data("text"), tmp_path)
    cache = rows_of(tmp_path)
    mine = [cache / "notes.txt", cache.parent / "mine" / "0.rows", cache.parent / "log"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (cache / "arrays.json").write_text("{")
    opened(Teacher(), Data("text"), tmp_path)
    others = Data("text")
    others.fingerprint = "others"
    opened(Teacher(), others, tmp_path)
    assert [path.read_text() for path in mine] == ["mine"] * 3
    assert [path.name for path in cache.iterdir()] == ["notes.txt"]
