"""Bundles of small models, made once and kept in .deploy/, which the tests then deploy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.deploy import bundles as deploy_bundles
from tests.deploy.bundles import Deployed, deployed, texts, write_images
from tests.deploy.places import PLACE, shipped

RUNS = PLACE / "runs"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.deploy)


@pytest.fixture(scope="session", params=["fp32", "plain", "lean", "attention", "fixed"])
def text_bundle(request) -> Deployed:
    """A text classifier; in float, in INT8 of each graph that `quantize` can make, and with
    ONNX Runtime's own products."""
    quantize = {
        "fp32": None,
        "fixed": {"method": "static_scales", "graph": "attention"},
    }.get(request.param, {"method": "dynamic", "graph": request.param})
    run = deploy_bundles.bert(RUNS, quantize=quantize)
    return deployed(shipped(run), texts(), quantized=quantize is not None)


@pytest.fixture(scope="session", params=["fp32", "int8"])
def image_bundle(request) -> Deployed:
    """An image classifier that is no model of transformers."""
    quantized = request.param == "int8"
    run = deploy_bundles.digits(RUNS, quantized=quantized)
    return deployed(shipped(run), write_images(PLACE / "images"), quantized=quantized)


@pytest.fixture(scope="session", params=["fp32", "int8"])
def vit_bundle(request) -> Deployed:
    """An image classifier of transformers, which resizes its images."""
    quantized = request.param == "int8"
    run = deploy_bundles.vit(RUNS, quantized=quantized)
    return deployed(shipped(run), write_images(PLACE / "images"), quantized=quantized)


@pytest.fixture(scope="session")
def sized_vit_bundle(vit_bundle) -> Deployed:
    """The same, with images that have its size already."""
    paths = write_images(PLACE / "images16", size=16)
    return dataclasses.replace(
        deployed(vit_bundle.folder, paths, quantized=vit_bundle.quantized), inputs=paths
    )


@pytest.fixture(scope="session", params=["feature-extraction", "sentence-similarity", "int8"])
def embeddings_bundle(request) -> Path:
    """A model of vectors of texts: made of its tokens' outside of the graph, or inside of it."""
    quantize = {"method": "dynamic"} if request.param == "int8" else None
    task = "sentence-similarity" if quantize else request.param
    return shipped(deploy_bundles.embeddings(RUNS, task=task, quantize=quantize))


@pytest.fixture(scope="session", params=["fp32", "int8"])
def rankings_bundle(request) -> Path:
    """A reranker."""
    return shipped(deploy_bundles.rankings(RUNS, quantized=request.param == "int8"))


@pytest.fixture(scope="session")
def tokens_bundle() -> Path:
    """A model of kinds of words."""
    return shipped(deploy_bundles.tokens(RUNS))


@pytest.fixture(scope="session")
def generation_bundle() -> Path:
    """A model that goes on with a text."""
    return shipped(deploy_bundles.llama(RUNS))
