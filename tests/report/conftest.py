"""A report of three rows."""

import pytest
from report_samples import make_report

from compress.report.document import Report


@pytest.fixture
def report() -> Report:
    """A gate failed, another passed."""
    return make_report()
