"""A family that nothing describes is pruned and made a narrower student of by one entry."""

import json

import pytest
import torch
import transformers

from compress.distillation.students.predicted import student_lines
from compress.distillation.students.spec import StudentSpec, Width
from compress.distillation.students.width import narrow
from compress.errors import StageError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import TransformersSource
from compress.models.spec import ModelSpec
from compress.models.structure.transformers.families import LAYOUTS
from compress.models.structure.transformers.groups import family_groups, prunable
from compress.models.structure.transformers.layout import Layout, SizeKeys
from compress.pruning.options import CutOptions
from compress.pruning.prune import prune
from compress.tasks.task import task

OPT = Layout(
    attention="self_attn",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    output="self_attn.out_proj",
    up="fc1",
    down="fc2",
    heads="num_heads",
    head_size="head_dim",
    outside={r"embed_positions": (None, "hidden")},
    sizes=SizeKeys(neurons="ffn_dim", again=("word_embed_proj_dim",)),
)
WIDTH = Width(hidden_size=16, intermediate_size=24, num_attention_heads=2)


def teacher():
    torch.manual_seed(0)
    config = transformers.OPTConfig(
        vocab_size=40,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=24,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    module = transformers.OPTForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module, TransformersSource.of(module)


def inputs():
    torch.manual_seed(1)
    ids = torch.randint(3, 40, (2, 10))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def answer(module):
    with torch.no_grad():
        return module(**inputs()).logits


def cut_options(unit):
    return CutOptions(ratios={"*": 0.25}, units=[unit], round_to=1)


def test_without_an_entry_it_is_refused():
    module, source = teacher()
    with pytest.raises(StageError, match="can't lose heads: it belongs to no described family"):
        prune(module, cut_options("heads"), example_inputs=inputs(), task=task("text-generation"))
    with pytest.raises(StageError, match="Got model_type 'opt'"):
        narrow(module, source, width=WIDTH)


@pytest.fixture
def described(monkeypatch):
    monkeypatch.setitem(LAYOUTS, "opt", OPT)


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize("unit", ["feed_forward", "heads", "head_width", "hidden"])
def test_by_its_entry_it_is_pruned(unit, tmp_path):
    module, source = teacher()
    assert prunable("opt")[unit] is None
    # Held against the masked original, and against the parameters that were predicted.
    pruned = prune(module, cut_options(unit), example_inputs=inputs(), task=task("text-generation"))
    assert pruned.after.params < pruned.before.params
    save_checkpoint(pruned.module, source, tmp_path)
    torch.testing.assert_close(
        answer(load_checkpoint(tmp_path)[0]), answer(pruned.module), rtol=1e-5, atol=1e-6
    )
    left = family_groups(pruned.module, units=[unit])
    before = family_groups(module, units=[unit])
    assert [group.units for group in left] == [group.units * 3 // 4 for group in before]


@pytest.mark.usefixtures("described")
def test_by_its_entry_it_has_narrower_students(tmp_path):
    module, source = teacher()
    student = narrow(module, source, width=WIDTH)
    config = student.module.config
    assert (config.hidden_size, config.word_embed_proj_dim, config.ffn_dim) == (16, 16, 24)
    save_checkpoint(student.module, student.source, tmp_path)
    assert json.loads((tmp_path / "structure.json").read_text())["modules"] == {}
    student.module.save_pretrained(tmp_path / "plain")
    again = transformers.OPTForCausalLM.from_pretrained(tmp_path / "plain").eval()
    torch.testing.assert_close(answer(again), answer(student.module), rtol=1e-5, atol=1e-6)
    whole = narrow(module, source, width=Width(intermediate_size=48)).module
    assert torch.equal(answer(whole), answer(module))


@pytest.mark.usefixtures("described")
def test_by_its_entry_a_student_is_counted_from_the_files(tmp_path):
    module, source = teacher()
    module.save_pretrained(tmp_path)
    count = sum(p.numel() for p in narrow(module, source, width=WIDTH).module.parameters())
    (line,) = student_lines(
        StudentSpec(width=WIDTH),
        model=ModelSpec(transformers=str(tmp_path)),
        task="text-generation",
    )
    assert line.startswith(f"student: {count:,} parameters")
