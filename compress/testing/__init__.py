"""The conformance suites: they check a third party's stage or task against its contract."""

from compress.testing.stages import check_stage, digits_problem
from compress.testing.tasks import check_task

__all__ = ["check_stage", "check_task", "digits_problem"]
