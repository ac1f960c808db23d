"""Finds everything wrong with a recipe at once, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from compress.core.registry import stage_class
from compress.core.stage import Options, Stage
from compress.data.spec import DataSpec
from compress.errors import RecipeError, expected, unknown
from compress.measurement.spec import MeasureSpec
from compress.models.spec import ModelSpec
from compress.recipe.document import Document, Keys, Problem, dotted
from compress.recipe.order import chain
from compress.recipe.overrides import caused_by_override
from compress.recipe.schema import Head, Recipe, Step
from compress.recipe.sentences import Fault, brief, faults, said_by_model, unknown_key
from compress.recipe.types import Shape, bad_choice, field_shape
from compress.tasks.task import TASKS, Task
