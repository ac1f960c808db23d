"""A report of three rows."""

import pytest

from compress.report.document import Report
from tests.report.samples import make_report


@pytest.fixture
def report() -> Report:
    """A gate failed, another passed."""
    return make_report()
