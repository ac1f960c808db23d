import pytest
from pydantic import ValidationError

from compress.factorization.options import LowRankOptions, LowRankTarget


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "exactly one of target, ratio, energy must be given. Got none"),
        ({"ratio": 0.5, "energy": 0.9}, "Got ratio and energy"),
        ({"ratio": 1.0}, "less than 1"),
        ({"energy": 0.0}, "greater than 0"),
        ({"target": {"params": 0.5, "macs": 0.5}}, "Got macs and params"),
        ({"target": {}}, "exactly one of macs, params must be given. Got none"),
        ({"target": {"size": 0.5}}, "Extra inputs"),
        ({"ratio": 0.5, "method": "asvd"}, "'activation' or 'svd'"),
        ({"ratio": 0.5, "layers": []}, "at least 1 item"),
        ({"ratio": 0.5, "calibration": {"samples": 0}}, "greater than or equal to 1"),
    ],
)
def test_bad_fields_are_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        LowRankOptions.model_validate(fields)


def test_a_target_knows_its_quantity():
    assert (LowRankTarget(macs=0.3).quantity, LowRankTarget(macs=0.3).fraction) == ("macs", 0.3)
    assert LowRankTarget(params=0.4).quantity == "params"
