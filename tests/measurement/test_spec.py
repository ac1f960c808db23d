import subprocess
import sys

import pytest
from pydantic import ValidationError

from compress.measurement.spec import MeasureSpec


def test_defaults():
    spec = MeasureSpec()
    assert (spec.batch_sizes, spec.threads, spec.metric, spec.samples) == ((1, 32), 1, None, None)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_sizes": []},
        {"batch_sizes": [0]},
        {"batch_sizes": [1, 1]},
        {"threads": 0},
        {"rounds": 4},
        {"warmup": 0},
        {"seconds": 0},
        {"precision": -0.1},
        {"samples": 0},
        {"batchsizes": [1]},
    ],
)
def test_bad_values_are_refused(options):
    with pytest.raises(ValidationError):
        MeasureSpec(**options)


def test_every_field_is_described():
    described = MeasureSpec.model_json_schema()["properties"]
    assert all(field["description"] for field in described.values())


def test_importing_the_spec_is_cheap():
    code = (
        "import sys, compress.measurement.spec, compress.measurement.session, "
        "compress.measurement.environment\n"
        "print(*{'torch', 'onnx', 'onnxruntime', 'scipy', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
