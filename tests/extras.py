"""Marks of tests that need an extra; `requirements.lock` holds all extras, so CI runs them."""

from importlib.util import find_spec

import pytest

needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None or find_spec("nncf") is None,
    reason="needs openvino and nncf: pip install 'compress[openvino]'",
)
