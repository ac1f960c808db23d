from itertools import combinations, pairwise

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Categorical, kl_divergence

from compress.core.progress import Silent
from compress.errors import StageError
from compress.models.source import TransformersSource
from compress.models.structure.shorter import keep_layers
from compress.pruning.depth.options import remaining_layers
from compress.pruning.depth.remove import remove_layers
from compress.pruning.sensitivity.divergence import distances
from compress.tasks.task import task

TEXT = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 5,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
    "num_labels": 3,
    "pad_token_id": 0,
}
CLASSES = task("text-classification")
TOKENS = task("token-classification")


def model_of(name, values=TEXT, scale=4.0):
    """A random model whose layers all matter, and its source."""
    torch.manual_seed(1)
    model_class = getattr(transformers, name)
    module = model_class(model_class.config_class(**values)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.mul_(scale)
    return module, TransformersSource.of(module)


def texts(sizes=(3, 2)):
    """Batches of padded sequences; the samples are the same however they are batched."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 40, (sum(sizes), 8), generator=generator)
    mask = (torch.arange(8)[None] < torch.tensor([8, 5, 7, 3, 6])[: len(ids), None]).long()
    rows = zip(ids.split(sizes), mask.split(sizes), strict=True)
    return [{"input_ids": own, "attention_mask": real} for own, real in rows]


def remove(module, source, remain, *, criterion="output", kind=CLASSES, batches=None, **more):
    return remove_layers(
        module,
        source,
        remain=remain,
        criterion=criterion,
        task=kind,
        batches=texts() if batches is None else batches,
        **more,
    )


def divergence(module, source, kept, *, kind=CLASSES):
    """Of a model with these layers, over all samples at once."""
    [batch] = texts((5,))
    part = keep_layers(module, source, kept=kept).module
    with torch.no_grad():
        wanted, answer = kind.logits(module, batch), kind.logits(part, batch)
    found, weight = distances(wanted, answer, batch=batch, target=kind.target)
    return found / weight


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BertForSequenceClassification", CLASSES),
        ("DistilBertForTokenClassification", TOKENS),
        ("BertModel", task("feature-extraction")),
        ("LlamaForCausalLM", task("text-generation")),
    ],
)
def test_each_step_removes_the_layer_that_is_missed_least(name, kind):
    module, source = model_of(name, TEXT | {"n_layers": 5, "n_heads": 2, "dim": 16})
    made = remove(module, source, 2, kind=kind)
    kept = list(range(5))
    for one in made.removed:
        parts = {layer: [other for other in kept if other != layer] for layer in kept}
        found = {
            layer: divergence(module, source, part, kind=kind) for layer, part in parts.items()
        }
        assert one.layer == min(found, key=found.get)
        assert one.score == pytest.approx(found[one.layer], rel=1e-4)
        assert max(found.values()) > 1.05 * min(found.values())
        kept.remove(one.layer)
    assert made.divergence == made.removed[-1].score
    every = [divergence(module, source, part, kind=kind) for part in combinations(range(5), 2)]
    assert made.divergence < sorted(every)[len(every) // 2]
    [batch] = texts((5,))
    with torch.no_grad():
        wanted = kind.logits(keep_layers(module, source, kept=kept).module, batch)
        assert torch.equal(kind.logits(made.module, batch), wanted)
    assert made.source.load_config().num_hidden_layers == 2


def test_a_layer_that_does_nothing_goes_first():
    images = {k: TEXT[k] for k in list(TEXT)[1:5]} | {
        "image_size": 8,
        "patch_size": 4,
        "num_channels": 1,
    }
    module, source = model_of("ViTForImageClassification", images)
    with torch.no_grad():
        for linear in (module.vit.layers[3].attention.o_proj, module.vit.layers[3].mlp.fc2):
            linear.weight.zero_()
            linear.bias.zero_()
    batches = [{"pixel_values": torch.rand(4, 1, 8, 8), "labels": torch.zeros(4).long()}]
    for criterion in ("output", "block_influence"):
        made = remove(
            module,
            source,
            4,
            criterion=criterion,
            kind=task("image-classification"),
            batches=batches,
        )
        assert [one.layer for one in made.removed] == [3]
        assert made.removed[0].score == pytest.approx(0, abs=1e-6)
        assert made.divergence == 0


def test_block_influence_is_one_minus_the_cosine_of_what_goes_in_and_out():
    module, source = model_of("BertForSequenceClassification")
    [batch] = texts((5,))
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        hidden = module.bert(**batch, output_hidden_states=True).hidden_states
    pairs = pairwise(hidden)
    wanted = [float(1 - torch.cosine_similarity(a, b, dim=-1)[real].mean()) for a, b in pairs]
    made = remove(module, source, 3, criterion="block_influence")
    order = sorted(range(5), key=wanted.__getitem__)[:2]
    assert [one.layer for one in made.removed] == order
    assert [one.score for one in made.removed] == pytest.approx(
        [wanted[i] for i in order], rel=1e-4
    )
    kept = sorted(set(range(5)) - set(order))
    assert made.divergence == pytest.approx(divergence(module, source, kept), rel=1e-4)


@pytest.mark.parametrize("criterion", ["output", "block_influence"])
def test_how_samples_are_batched_changes_nothing(criterion):
    module, source = model_of("BertForTokenClassification")
    first, second = (
        remove(module, source, 3, criterion=criterion, kind=TOKENS, batches=texts(sizes))
        for sizes in ((5,), (1, 3, 1))
    )
    assert [one.layer for one in first.removed] == [one.layer for one in second.removed]
    for one, other in zip(first.removed, second.removed, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-4)


class Counting(Silent):
    """Counts the steps that were shown."""

    def track(self, description, total):
        self.total, self.done = total, 0
        outer = self

        class Work:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                return False

            def __call__(self, steps=1, *, info=""):
                outer.done += steps

        return Work()


def test_notes_say_what_went_and_what_had_to_stay_and_progress_ends_at_its_total():
    values = TEXT | {"global_attn_every_n_layers": 2, "local_attention": 4}
    module, source = model_of("ModernBertForSequenceClassification", values)
    for criterion in ("output", "block_influence"):
        progress = Counting()
        made = remove(module, source, 1, criterion=criterion, progress=progress)
        gone = ", ".join(str(one.layer) for one in made.removed)
        text = " ".join(made.notes)
        assert f"in this order: {gone} of 5 (from 0); 0 remain" in text
        assert f"{made.divergence:.3g} (KL of the class probabilities, nats a sample)" in text
        assert "layer 0 had to stay" in text
        assert "params" in text
        assert progress.done == progress.total


def test_what_cannot_be_measured_is_refused():
    module, source = model_of("BertForSequenceClassification")
    with pytest.raises(StageError, match=r"'remain' must be from 1 to 4: .* has 5 layers\. Got 5"):
        remove(module, source, 5)
    with pytest.raises(StageError, match="gave no batch"):
        remove(module, source, 4, batches=[])
    with torch.no_grad():
        module.classifier.weight.fill_(float("nan"))
    with pytest.raises(StageError, match="answers"):
        remove(module, source, 4)


@pytest.mark.parametrize(
    ("layers", "ratio", "total", "remain"),
    [(3, None, 6, 3), (None, 0.5, 6, 3), (None, 0.5, 5, 2), (None, 0.1, 6, 5), (None, 0.9, 12, 1)],
)
def test_how_many_layers_remain(layers, ratio, total, remain):
    assert remaining_layers(layers=layers, ratio=ratio, total=total) == remain


@pytest.mark.parametrize(
    ("layers", "ratio", "said"),
    [(6, None, "at most 5"), (None, 0.05, "removes 0"), (None, 0.95, "removes 6")],
)
def test_removing_none_or_all_is_refused(layers, ratio, said):
    with pytest.raises(StageError, match=said):
        remaining_layers(layers=layers, ratio=ratio, total=6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), classes=st.integers(1, 5), scale=st.floats(0.1, 5))
def test_divergences_are_those_of_the_distributions(seed, classes, scale):
    generator = torch.Generator().manual_seed(seed)
    a, b = scale * torch.randn(2, 4, classes, generator=generator, dtype=torch.float64)
    for target, kind in (("class", Categorical), ("class-set", Bernoulli)):
        found, weight = distances(a, b, batch={}, target=target)
        wanted = kl_divergence(kind(logits=a), kind(logits=b)).sum()
        assert found == pytest.approx(float(wanted), rel=1e-6, abs=1e-9)
        assert weight == 4
        assert distances(a, a, batch={}, target=target)[0] == 0
    found, weight = distances(a, b, batch={}, target="none")
    assert found / weight == pytest.approx(float((a - b).square().sum() / a.square().sum()))


def test_padding_does_not_count():
    a, b = torch.randn(2, 2, 6, 3).double()
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]])
    real = mask.bool()
    for target in ("token-class", "next-token", "none"):
        found = distances(a, b, batch={"attention_mask": mask}, target=target)
        assert found == pytest.approx(distances(a[real], b[real], batch={}, target=target))
