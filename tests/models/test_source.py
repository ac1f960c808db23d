import json

import pytest
import torch
from torch import nn

from compress.core.foreign.modules import current_directory_importable
from compress.errors import ModelError
from compress.models.source import PythonSource, TransformersSource, source_from_dict


def test_transformers_source_survives_json(tiny_bert):
    source = TransformersSource.of(tiny_bert)
    again = source_from_dict(json.loads(json.dumps(source.to_dict())))
    built = again.build()
    assert again == source
    assert type(built) is type(tiny_bert)
    shapes = {name: tensor.shape for name, tensor in tiny_bert.state_dict().items()}
    assert {name: tensor.shape for name, tensor in built.state_dict().items()} == shapes
    assert built.config.id2label == {0: "mail", 1: "web", 2: "math"}
    assert not built.training


def test_python_source_survives_json():
    source = PythonSource(
        "compress.models.resnet:resnet", {"width": 4, "blocks": [1], "num_classes": 3}
    )
    again = source_from_dict(json.loads(json.dumps(source.to_dict())))
    assert again == source
    assert again.build()(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_half_precision_is_never_built(tiny_bert):
    source = TransformersSource.of(tiny_bert.half())
    assert {p.dtype for p in source.build().parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"kind": "keras"}, "keras"),
        ({"kind": "python", "factory": "a:b", "colour": 1}, "colour"),
        ({}, "None"),
    ],
)
def test_damaged_sources_are_refused(values, part):
    with pytest.raises(ModelError, match=part):
        source_from_dict(values)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        (TransformersSource("NoSuchModel", {"model_type": "bert"}), "NoSuchModel"),
        (TransformersSource("BertModel", {"model_type": "birt"}), "no model_type 'birt'"),
        (PythonSource("no.such:net"), "no module 'no'"),
        (PythonSource("compress.models.resnet:resnot"), "no 'resnot'"),
        (PythonSource("compress.models.resnet:resnet", {"wide": 3}), "wide"),
        (PythonSource("builtins:dict"), "torch.nn.Module"),
        (PythonSource("compress.models.spec:WEIGHT_FILES"), "callable"),
    ],
)
def test_what_cannot_be_built_is_told(source, part):
    with pytest.raises(ModelError, match=part):
        source.build()


def test_factories_in_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "my_source_nets.py").write_text(
        "from torch import nn\ndef make(*, width): return nn.Linear(2, width)\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    built = PythonSource("my_source_nets:make", {"width": 5}).build()
    assert isinstance(built, nn.Linear)
    assert built.out_features == 5


def test_the_path_is_left_as_it_was(tmp_path, monkeypatch):
    import sys

    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    with current_directory_importable():
        assert "" in sys.path or sys.path[-1] == str(tmp_path)
    assert sys.path == before
