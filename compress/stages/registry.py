"""Finds stages by name, through the entry-point group `compress.stages`."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from compress.core.foreign.boundary import foreign
from compress.errors import InputError, RecipeError, unknown
from compress.stages.contract import Stage

GROUP = "compress.stages"


@cache
def _entry_points() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise RecipeError(
                [
                    f"two installed packages name a stage {entry.name!r}: "
                    f"{other.value} and {entry.value}. Uninstall one of them."
                ]
            )
    return found


def stage_names() -> tuple[str, ...]:
    """Names of all installed stages, sorted."""
    return tuple(sorted(_entry_points()))


def stage_class(name: str) -> type[Stage]:
    """The class of the stage of that name.

    Raises
    ------
    RecipeError : there is none, or its package can't be imported.
    """
    entry = _entry_points().get(name)
    if entry is None:
        raise RecipeError([unknown("stage", name, stage_names())])
    try:
        with foreign(f"importing stage {name!r} ({entry.value})"):
            loaded = entry.load()
    except InputError as error:
        raise RecipeError([str(error)]) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Stage)):
        raise RecipeError([f"stage {name!r} ({entry.value}) isn't a subclass of {Stage.__name__}."])
    return loaded


def stage_name(stage: Stage) -> str:
    """The registered name of a stage's class; its class name in lower case if there is none."""
    target = f"{type(stage).__module__}:{type(stage).__qualname__}"
    names = [name for name, entry in _entry_points().items() if entry.value == target]
    return names[0] if names else type(stage).__name__.lower()
