import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertConfig, BertForMaskedLM, ViTConfig, ViTForImageClassification

from compress.errors import ModelError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import PythonSource, TransformersSource
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune
from compress.tasks.task import task

RESNET = PythonSource("compress.models.resnet:resnet", {"blocks": [1, 1], "width": 8})


class Tied(nn.Module):
    """Two names for one weight, and a buffer."""

    def __init__(self, *, width=4, tied=True):
        super().__init__()
        self.up = nn.Linear(width, width, bias=False)
        self.down = nn.Linear(width, width, bias=False)
        if tied:
            self.down.weight = self.up.weight
        self.register_buffer("steps", torch.tensor(0))
        self.scale = 1.0


def cnn():
    torch.manual_seed(0)
    return RESNET.build(), RESNET, {"pixel_values": torch.rand(2, 1, 8, 8)}, "image-classification"


def vit():
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
    )
    module = ViTForImageClassification(config).eval()
    inputs = {"pixel_values": torch.rand(2, 1, 8, 8)}
    return module, TransformersSource.of(module), inputs, "image-classification"


@pytest.fixture(params=["cnn", "vit", "bert"])
def model(request, tiny_bert):
    if request.param == "bert":
        inputs = {"input_ids": torch.randint(0, 50, (2, 9))}
        return tiny_bert, TransformersSource.of(tiny_bert), inputs, "text-classification"
    return {"cnn": cnn, "vit": vit}[request.param]()


def test_pruned_models_answer_the_same_once_reloaded(model, tmp_path):
    module, source, inputs, name = model
    smaller = prune(
        module,
        CutOptions(target=Target(macs=0.6), round_to=1),
        example_inputs=inputs,
        task=task(name),
    ).module
    save_checkpoint(smaller, source, tmp_path)
    rebuilt, again = load_checkpoint(tmp_path)
    assert again == source
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint.safetensors",
        "structure.json",
    }
    structure = json.loads((tmp_path / "structure.json").read_text(encoding="utf-8"))
    assert structure["schema"] == 1
    assert structure["modules"]
    assert sum(p.numel() for p in rebuilt.parameters()) == sum(
        p.numel() for p in smaller.parameters()
    )
    with torch.no_grad():
        wanted, answer = (task(name).logits(m, inputs) for m in (smaller, rebuilt))
    assert torch.equal(wanted, answer)
    assert str(rebuilt) == str(smaller)


def test_loading_needs_no_torch_pruning(tmp_path):
    module, source, inputs, name = cnn()
    smaller = prune(
        module,
        CutOptions(target=Target(macs=0.6), round_to=1),
        example_inputs=inputs,
        task=task(name),
    ).module
    save_checkpoint(smaller, source, tmp_path)
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from compress.models.checkpoint import load_checkpoint\n"
        f"load_checkpoint(Path({str(tmp_path)!r}))\n"
        "print(sorted(name for name in sys.modules if 'torch_pruning' in name"
        " or name.startswith('compress.pruning')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_tied_weights_stay_tied(tmp_path):
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=8,
    )
    module = BertForMaskedLM(config).eval()
    save_checkpoint(module, TransformersSource.of(module), tmp_path)
    rebuilt, _ = load_checkpoint(tmp_path)
    assert rebuilt.cls.predictions.decoder.weight is rebuilt.bert.embeddings.word_embeddings.weight
    ids = torch.randint(0, 20, (1, 5))
    torch.testing.assert_close(
        rebuilt(input_ids=ids).logits, module(input_ids=ids).logits, rtol=1e-5, atol=1e-6
    )


def test_tied_weights_of_another_shape_stay_tied(tmp_path):
    module = Tied()
    module.up.weight = module.down.weight = nn.Parameter(torch.rand(3, 4))
    module.up.out_features = module.down.out_features = 3
    module.steps += 7
    module.scale = 0.5
    save_checkpoint(module, PythonSource(f"{__name__}:Tied", {"width": 4}), tmp_path)
    rebuilt, _ = load_checkpoint(tmp_path)
    assert rebuilt.up.weight is rebuilt.down.weight
    assert torch.equal(rebuilt.up.weight, module.up.weight)
    assert (rebuilt.steps.item(), rebuilt.scale, rebuilt.down.out_features) == (7, 0.5, 3)


def test_modules_that_the_source_does_not_rebuild_are_refused(tmp_path):
    tied = PythonSource(f"{__name__}:Tied")
    with pytest.raises(ModelError, match="one tensor in the source, and two in the module"):
        save_checkpoint(Tied(tied=False), tied, tmp_path)
    more = Tied()
    more.head = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="head"):
        save_checkpoint(more, tied, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_saving_and_loading_leave_the_random_state(tmp_path):
    module, source, *_ = cnn()
    state = torch.random.get_rng_state()
    save_checkpoint(module, source, tmp_path)
    load_checkpoint(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.fixture
def stored(tmp_path):
    module, source, *_ = cnn()
    save_checkpoint(module, source, tmp_path)
    return tmp_path


def edit(directory, **changes):
    path = directory / "structure.json"
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"schema": 2}, "schema 2; this version of compress reads schema 1"),
        ({"source": None}, "no 'source'"),
        ({"modules": {"nowhere": {"width": 1}}}, "'nowhere'"),
        ({"source": {"kind": "pickle"}}, "pickle"),
    ],
)
def test_strange_structures_are_refused(stored, changes, part):
    edit(stored, **changes)
    with pytest.raises(ModelError, match=part):
        load_checkpoint(stored)


def test_missing_and_left_over_tensors_are_named(stored):
    path = stored / "checkpoint.safetensors"
    tensors = load_file(path)
    save_file({name: t for name, t in tensors.items() if name != "fc.bias"}, path)
    with pytest.raises(ModelError, match=r"lacks fc.bias"):
        load_checkpoint(stored)
    save_file(tensors | {"extra": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="extra"):
        load_checkpoint(stored)
    path.unlink()
    with pytest.raises(ModelError, match="can't be read"):
        load_checkpoint(stored)
    (stored / "structure.json").unlink()
    with pytest.raises(ModelError, match="can't be read"):
        load_checkpoint(stored)
