import ctypes
import re
import runpy
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.core.batch import IGNORED
from compress.distillation.losses import (
    TokenLoss,
    chunked,
    decoupled,
    labels,
    response_top_k,
    shift,
    token_divergence,
)
from compress.errors import StageError
from tests.launching import forked

N, S, H, V = 2, 6, 5, 11
BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "chunked_loss.py"


@pytest.fixture
def models():
    torch.manual_seed(0)
    return nn.Linear(H, V), nn.Linear(2 * H, V).requires_grad_(False)


@pytest.fixture
def states():
    torch.manual_seed(1)
    return torch.randn(N, S, H), torch.randn(N, S, 2 * H)


@pytest.fixture
def targets():
    torch.manual_seed(2)
    ids = torch.randint(V, (N, S))
    ids[0, :2] = IGNORED
    ids[1, 4:] = IGNORED
    return ids


def gradients(parts, hidden, head, weights=(0.7, 0.3)):
    leaves = [hidden, *head.parameters()]
    total = sum(weight * part for weight, part in zip(weights, parts.values(), strict=True))
    return torch.autograd.grad(total, leaves)


@pytest.mark.parametrize("chunk_tokens", [1, 3, 4, 1000])
@pytest.mark.parametrize("divergence", ["forward", "reverse", "jsd"])
def test_chunked_equals_naive_in_values_and_gradients(
    models, states, targets, divergence, chunk_tokens
):
    head, teacher_head = models
    hidden = states[0].requires_grad_()
    ours, wanted = shift(hidden, targets)
    theirs, mask = states[1][:, :-1], wanted != IGNORED
    # The teacher also counts a token that has no label, and leaves one out that has.
    other = mask.clone()
    other[0, 0], other[0, -1] = True, False
    compare = partial(token_divergence, divergence=divergence, temperature=2.0)
    parts = {
        "response": TokenLoss(lambda z, h: compare(z, teacher_head(h)), (theirs,), other),
        "labels": TokenLoss(partial(labels, label_smoothing=0.1), (wanted,), mask),
    }
    naive = {
        "response": compare(head(ours), teacher_head(theirs), mask=other),
        "labels": labels(head(ours), wanted, label_smoothing=0.1),
    }
    got = chunked(ours, head=head, parts=parts, chunk_tokens=chunk_tokens)
    torch.testing.assert_close(got, naive)
    torch.testing.assert_close(gradients(got, hidden, head), gradients(naive, hidden, head))


def test_stored_answers_and_other_losses_go_in_chunks_too(models, states, targets):
    head, teacher_head = models
    hidden = states[0].requires_grad_()
    logits = teacher_head(states[1])
    kept, indices = logits.topk(3, dim=-1)
    tail = logits.scatter(-1, indices, -torch.inf).logsumexp(-1)
    mask = targets != IGNORED
    whole = decoupled(
        head(hidden), logits, targets, temperature=1.0, alpha=1.0, beta=2.0, mask=mask
    )
    stored = response_top_k(
        head(hidden),
        indices=indices,
        teacher_logits=kept,
        teacher_tail=tail,
        temperature=1.0,
        mask=mask,
    )

    def top_k(z, indices, kept, tail):
        return response_top_k(
            z, indices=indices, teacher_logits=kept, teacher_tail=tail, temperature=1.0
        )

    parts = {
        "stored": TokenLoss(top_k, (indices, kept, tail), mask),
        "decoupled": TokenLoss(
            partial(decoupled, temperature=1.0, alpha=1.0, beta=2.0), (logits, targets), mask
        ),
    }
    got = chunked(hidden, head=head, parts=parts, chunk_tokens=3)
    torch.testing.assert_close(got, {"stored": stored, "decoupled": whole})
    torch.testing.assert_close(
        gradients(got, hidden, head),
        gradients({"stored": stored, "decoupled": whole}, hidden, head),
    )


def test_a_chunks_logits_are_made_once_for_all_parts_and_only_for_tokens_that_count(
    models, states, targets
):
    head, seen = models[0], []

    def counting(rows):
        seen.append(len(rows))
        return head(rows)

    mask = targets != IGNORED
    parts = {name: TokenLoss(labels, (targets,), mask) for name in ("first", "second")}
    with torch.no_grad():
        chunked(states[0], head=counting, parts=parts, chunk_tokens=3)
    assert int(mask.sum()) == 8
    assert seen == [3, 3, 2]


@pytest.mark.parametrize("junk", [torch.inf, torch.nan])
def test_tokens_that_do_not_count_change_nothing(models, states, targets, junk):
    head, mask = models[0], targets != IGNORED
    found = []
    for fill in (0.0, junk):
        hidden = states[0].clone()
        hidden[~mask] = fill
        hidden.requires_grad_()
        got = chunked(
            hidden, head=head, parts={"labels": TokenLoss(labels, (targets,), mask)}, chunk_tokens=3
        )
        found.append((got["labels"].detach(), *gradients(got, hidden, head, weights=(1.0,))))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert not found[1][1][~mask].any()


def test_where_nothing_counts_the_parts_are_nothing(models, states, targets):
    head, hidden = models[0], states[0].requires_grad_()
    mask = torch.zeros(N, S, dtype=torch.bool)
    parts = {"labels": TokenLoss(labels, (targets,), mask)}
    got = chunked(hidden, head=head, parts=parts)
    assert got["labels"] == 0
    for gradient in gradients(got, hidden, head, weights=(1.0,)):
        assert not gradient.any()


def test_a_tied_head_gathers_both_gradients(states, targets):
    torch.manual_seed(3)
    embedding = nn.Embedding(V, H)
    mask = targets != IGNORED
    ids = targets.clamp_min(0)
    found = []
    for naive in (False, True):
        embedding.zero_grad()
        hidden = embedding(ids)

        def head(rows):
            return nn.functional.linear(rows, embedding.weight)

        if naive:
            value = labels(head(hidden), targets)
        else:
            parts = {"labels": TokenLoss(labels, (targets,), mask)}
            value = chunked(hidden, head=head, parts=parts, chunk_tokens=2)["labels"]
        value.backward()
        found.append((value.detach(), embedding.weight.grad.clone()))
    torch.testing.assert_close(*found)


def test_heads_may_run_in_half_precision(models, states, targets):
    head, mask = models[0], targets != IGNORED
    hidden = states[0].requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        parts = {"labels": TokenLoss(labels, (targets,), mask)}
        got = chunked(hidden, head=head, parts=parts, chunk_tokens=3)
        naive = labels(head(hidden), targets)
    assert got["labels"].dtype == torch.float32
    torch.testing.assert_close(got["labels"], naive)
    gradients(got, hidden, head, weights=(1.0,))


def test_rows_and_masks_of_other_tokens_are_refused(models, states, targets):
    mask = targets != IGNORED
    for part, words in (
        (TokenLoss(labels, (targets[:, 1:],), mask), "must be of shape"),
        (TokenLoss(labels, (targets,), mask[:1]), "must be of shape"),
        (TokenLoss(labels, (targets,), mask.long()), "'mask' must be a bool tensor"),
    ):
        with pytest.raises(StageError, match=words):
            chunked(states[0], head=models[0], parts={"labels": part})


def benchmark(sizes):
    # So that freed tensors leave the resident set whatever their size, as they do at full size.
    m_mmap_threshold = -3
    assert ctypes.CDLL(None).mallopt(m_mmap_threshold, 1_000_000) == 1
    sys.argv[1:] = sizes
    runpy.run_path(str(BENCHMARK), run_name="__main__")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak resident set as Linux gives it")
def test_chunks_need_a_third_of_the_naive_forms_extra_memory(tmp_path):
    sizes = ["--vocabulary", "32000", "--tokens", "512", "--width", "32", "--chunk-tokens", "64"]
    with forked(benchmark, sizes, folder=tmp_path) as measuring:
        done = measuring.wait()
    assert done.returncode == 0, done.stderr
    ratio = re.search(r"chunked / naive extra peak: ([\d.]+)", done.stdout)
    assert ratio is not None
    assert float(ratio[1]) < 1 / 3
    gaps = re.findall(r"gradient difference, \w+: (\S+) of at most (\S+)", done.stdout)
    assert len(gaps) == 3
    assert all(float(gap) < 1e-4 * float(largest) for gap, largest in gaps)
