"""The tokens that a classifier's head looks for: padding, and the end of a text."""

import pytest
import torch
from transformers import AutoTokenizer

import compress
from compress.errors import DataError, ModelError
from compress.exporting.checked import export_artifact
from compress.measurement.session import run, session
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from tests.stages.texts import save_tokenizer
from tests.tasks import texts

MODEL = {
    "config": {
        **{"model_type": "gpt2", "vocab_size": 420, "n_embd": 16, "n_layer": 1, "n_head": 2},
        **{"n_positions": 24, "num_labels": 4, "bos_token_id": 0, "eos_token_id": 0},
    }
}


def tokenizer(folder, *, ends):
    """One without a padding token, and with or without an end token."""
    save_tokenizer(folder, generates=True)
    made = AutoTokenizer.from_pretrained(folder)
    made.pad_token = None
    if not ends:
        made.eos_token = None
    made.save_pretrained(folder)
    return str(folder)


def load(folder, model=MODEL):
    data = {"python": "tests.stages.texts:coloured", "tokenizer": folder, "max_length": 24}
    return compress.load(model, "text-classification", data)


def test_the_end_token_pads_and_the_last_real_token_is_read(tmp_path):
    artifact, context = load(tokenizer(tmp_path / "tokenizer", ends=True))
    own = artifact.preprocessor.tokenizer
    assert own.pad_token_id == own.eos_token_id == artifact.module.config.pad_token_id
    assert sum("no padding token" in note for note in artifact.notes) == 2
    texts = ["the car is red", "the house is green behind a wall", "sky"]
    together = artifact.preprocessor(texts)
    path = tmp_path / "model.onnx"
    export_artifact(artifact, context, path)
    opened = session(path, threads=1)
    with torch.no_grad():
        wanted = context.task.logits(artifact.module, together)
        for number, text in enumerate(texts):
            alone = artifact.preprocessor([text])
            answer = context.task.logits(artifact.module, alone)
            torch.testing.assert_close(answer[0], wanted[number], rtol=1e-4, atol=1e-5)
            found = torch.from_numpy(run(opened, alone)["logits"])
            torch.testing.assert_close(found[0], wanted[number], rtol=1e-4, atol=1e-5)
    save_checkpoint(artifact.module, artifact.source, tmp_path / "kept")
    again, _ = load_checkpoint(tmp_path / "kept")
    assert torch.equal(context.task.logits(again, together), wanted)


def test_without_an_end_token_it_is_said_what_to_set(tmp_path):
    with pytest.raises(DataError, match=r"no padding token.*Set its 'pad_token'.*data\.tokenizer"):
        load(tokenizer(tmp_path / "tokenizer", ends=False))


def test_an_encoder_decoder_reads_the_token_that_ends_texts(tmp_path):
    folder = save_tokenizer(tmp_path / "tokenizer")
    ends = AutoTokenizer.from_pretrained(folder).sep_token_id
    sides = ("layers", "attention_heads", "ffn_dim")
    bart = {
        **{"model_type": "bart", "vocab_size": 420, "d_model": 16, "num_labels": 4},
        **{f"{side}_{key}": 2 for side in ("encoder", "decoder") for key in sides},
        **{"max_position_embeddings": 32, "pad_token_id": 0},
    }
    artifact, _ = load(folder, {"config": bart | {"eos_token_id": ends}})
    assert artifact.module.config.eos_token_id == ends
    said = (
        rf"reads its answer at the end token of a text, which is 7 .* ends a text with \[{ends}\]"
    )
    with pytest.raises(ModelError, match=said):
        load(folder, {"config": bart | {"eos_token_id": 7}})


@pytest.mark.parametrize("task", ["text-classification", "question-answering"])
def test_a_decoder_that_does_not_know_how_to_begin_says_what_to_set(task, tmp_path):
    sizes = {"vocab_size": 420, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1}
    config = {"model_type": "t5", "num_heads": 2, "num_labels": 4, "eos_token_id": ends(tmp_path)}
    if task == "question-answering":
        data = texts.write_splits(tmp_path, "question", 24)
        config |= {"num_labels": 2}
    else:
        data = {"python": "tests.stages.texts:coloured", "tokenizer": str(tmp_path)}
    said = "T5For.* doesn't say with which token its decoder begins. Set 'decoder_start_token_id'"
    with pytest.raises(ModelError, match=said):
        compress.load({"config": sizes | config}, task, data)


def ends(folder):
    return AutoTokenizer.from_pretrained(save_tokenizer(folder)).sep_token_id
