"""The `vocabulary` stage for the built-in tasks on texts that keep the contract."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import compress
from compress.core.batch import model_inputs
from compress.errors import CompressError, RecipeError
from compress.models.transformers.vocabulary import as_seen_by
from compress.recipe.load import recipe_from_dict
from compress.stages.distill import Distill
from compress.stages.vocabulary import TEXT_TASKS, Vocabulary
from compress.tasks.registry import find_task
from tests.tasks import texts
from tests.tasks.test_tensors import training
from tests.tasks.test_text_regression import verified

KINDS = {
    "text-regression": "scored",
    "question-answering": "question",
    "fill-mask": "plain",
    "multiple-choice": "choice",
    "text-ranking": "ranking",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tokenizer that knows words which no text has."""
    from compress.data.spec import Vocabulary as Trained
    from compress.data.vocabulary.train import train_tokenizer

    path = tmp_path_factory.mktemp("tokenizer")
    given = [" ".join((*texts.COLOURS, *texts.THINGS, *texts.PLACES, "what colour place"))] * 3
    given += ["unused others never seen anywhere besides this sentence"] * 3
    options = Trained(vocab_size=400)
    tokenizer = train_tokenizer(given, options, generates=False, max_length=40)
    tokenizer.save_pretrained(str(path))
    return str(path)


def values(name: str, tmp_path: Path, folder: str, **keys: Any) -> dict[str, Any]:
    config = {**texts.CONFIG, "initializer_range": 0.3}
    if name in ("text-regression", "text-ranking"):
        config |= {"num_labels": 1, "problem_type": "regression"}
    return texts.recipe(
        tmp_path / "data",
        KINDS[name],
        task=name,
        model={"config": config},
        data={"tokenizer": folder},
        **keys,
    )


def loaded(name: str, tmp_path: Path, folder: str) -> Any:
    given = values(name, tmp_path, folder)
    return compress.load(**{key: given[key] for key in ("model", "task", "data")})


def test_every_one_is_named() -> None:
    assert set(TEXT_TASKS) == set(KINDS)
    assert all(find_task(name).modality == "text" for name in TEXT_TASKS)


@pytest.mark.parametrize("name", TEXT_TASKS)
def test_fewer_tokens_answer_alike(name: str, tmp_path: Path, folder: str) -> None:
    artifact, context = loaded(name, tmp_path, folder)
    context = replace(context, directory=tmp_path)
    smaller = Vocabulary().apply(artifact, context)
    before = artifact.require_preprocessor().tokenizer
    after = smaller.require_preprocessor().tokenizer
    assert len(after) < len(before)
    embeddings = smaller.require_module().get_input_embeddings()
    assert embeddings.weight.shape[0] == len(after) == len(smaller.original_ids)
    kept = list(smaller.original_ids)
    for split in ("train", "test"):
        for old, new in zip(
            *(
                context.data.loader(split, one.require_preprocessor(), batch_size=16, limit=32)
                for one in (artifact, smaller)
            ),
            strict=True,
        ):
            if split == "test":  # of train, fill-mask draws random tokens
                assert torch.equal(torch.tensor(kept)[new["input_ids"]], old["input_ids"])
            with torch.no_grad():
                wanted = context.task.logits(artifact.require_module(), model_inputs(old))
                got = context.task.logits(smaller.require_module(), model_inputs(new))
                theirs = context.task.logits(as_seen_by(smaller, artifact), model_inputs(new))
            torch.testing.assert_close(got, theirs)
            if name == "fill-mask":
                wanted = wanted[..., kept]
                assert smaller.require_module().get_output_embeddings().weight.shape[0] == len(kept)
            if split == "test":
                torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    shared = any("shared among the kept tokens" in note for note in smaller.notes)
    assert shared == (name == "fill-mask")
    # a later lesson has the reference with the same tokens as its teacher
    lesson = Distill.model_validate({"losses": {"labels": None}, **training(1)})
    learned = lesson.apply(smaller, context)
    assert learned.original_ids == smaller.original_ids


def test_masks_with_fewer_tokens_are_exported_and_answer(tmp_path: Path, folder: str) -> None:
    stages = [{"use": "vocabulary"}, {"use": "export"}]
    given = values("fill-mask", tmp_path, folder, stages=stages)
    report = compress.run(recipe_from_dict(given), output=tmp_path / "run", threads=1)
    original, small, _ = report.stages
    assert small.params < original.params
    assert small.quality.value <= original.quality.value  # over fewer tokens
    assert verified(tmp_path / "run") == {"ok"}


def test_extra_texts_keep_their_tokens(tmp_path: Path, folder: str) -> None:
    path = tmp_path / "extra.jsonl"
    path.write_text('{"question": "unused", "said": ["others never", "seen"], "right": 0}\n')
    artifact, context = loaded("multiple-choice", tmp_path, folder)
    extra = {
        "huggingface": "json",
        "files": {"train": str(path)},
        "columns": {"inputs": {"question": "question", "choices": "said"}, "label": "right"},
    }
    few = Vocabulary().apply(artifact, context)
    more = Vocabulary.model_validate({"extra": extra}).apply(artifact, context)
    ids = artifact.require_preprocessor().tokenizer("unused others never seen")["input_ids"]
    assert set(ids) <= set(more.original_ids)
    assert not set(ids) <= set(few.original_ids)
    assert np.all(np.isin(few.original_ids, more.original_ids))
    del extra["columns"]
    with pytest.raises(CompressError, match="column 'choices'"):
        Vocabulary.model_validate({"extra": extra}).apply(artifact, context)


@pytest.mark.parametrize("task", ["tensor-regression", "tests.tasks.test_huber:Owned"])
def test_other_tasks_are_refused_with_the_reason(task: str, tmp_path: Path, folder: str) -> None:
    named = {"python": task} if ":" in task else {"name": task}
    given = values("fill-mask", tmp_path, folder, stages=[{"use": "vocabulary"}])
    with pytest.raises(RecipeError, match="The reason: which tokens the data uses is known only"):
        recipe_from_dict({**given, "task": named})
