"""What processes that tests start need, to import what the tests share."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The repository."""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
