"""What the files of the data say of it, for a draft: their format, splits and columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from compress.core.context import Split
from compress.core.files.paths import exists, only_a_path
from compress.core.foreign.entries import entry_problem
from compress.data.peek import first_rows, peek
from compress.data.sources.idx import find_files
from compress.errors import DataError, clipped
from compress.recipe.draft.columns import Column, column_of
from compress.recipe.draft.model import ENTRY, HUB_ID

Samples = Literal["images", "table", "arrays", "unknown"]

_FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"} | {
    ".arrow": "arrow"
}
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
_SPLITS: tuple[tuple[Split, tuple[str, ...]], ...] = (
    ("train", ("train",)),
    ("validation", ("validation", "valid", "val", "dev")),
    ("test", ("test", "eval")),
    ("calibration", ("calibration", "calib")),
)
_DIGITS = "digits"
ALLOWED = (
    "a CSV, JSON, parquet, arrow or .npz file, a folder of them (train.csv, test.csv), of .npy "
    "files, of images (one folder for each class) or of MNIST's files, 'digits', a function "
    "'package.module:function', or a data set of the hub such as 'stanfordnlp/imdb'"
)


@dataclass(frozen=True)
class DraftData:
    """What is known of the data.

    Attributes
    ----------
    word : the data as it was named.
    keys : the recipe's `data`, without `columns`.
    samples : the kind of its samples.
    columns : columns of a table, or arrays, by name; empty if they can't be seen from here.
    classes : names of the classes, where folders name them; empty otherwise.
    rows : number of rows of train; None if unknown.
    picture : height, width and channels of the images if the first few agree; None otherwise.
    """

    word: str
    keys: dict[str, Any]
    samples: Samples
    columns: Mapping[str, Column] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    rows: int | None = None
    picture: tuple[int, int, int] | None = None

    def label_values(self, column: str) -> tuple[list[Any], tuple[str, ...]]:
        """Return the values of a table's column, as many as a check reads, and their names."""
        form = str(self.keys.get("huggingface"))
        values: list[Any] = []
        names: tuple[str, ...] = ()
        for path in _listed(self.keys.get("files", {}).get("train")):
            seen = peek(Path(path), form=form, column=column)
            values += () if seen is None else seen.values
            names = names or (() if seen is None or seen.names is None else seen.names)
        return values or list(self.columns[column].values), names


def look_at_data(word: str) -> DraftData:
    """Return what is known of the data that a word names.

    Parameters
    ----------
    word : a file, a folder, "digits", "package.module:function", or a hub id.

    Raises
    ------
    DataError : there is no such data, it is none that a recipe can name, or it can't be read.
    """
    path = Path(word).expanduser()
    if exists(word):
        found = _folder(word, path) if path.is_dir() else _file(word, path)
        if found is None:
            raise DataError(f"{clipped(repr(word))} holds no data: name {ALLOWED}.")
        return found
    if word == _DIGITS:
        classes = tuple(map(str, range(10)))
        return DraftData(word, {"sklearn": word}, "images", {}, classes, 1797, (8, 8, 1))
    if ENTRY.fullmatch(word):
        problem = entry_problem(word)
        if problem is not None:
            raise DataError(problem)
        return DraftData(word, {"python": word}, "unknown")
    if HUB_ID.fullmatch(word) and not only_a_path(word):
        return DraftData(word, {"huggingface": word}, "unknown")
    raise DataError(f"there is no data {clipped(repr(word))}: name {ALLOWED}.")


def _file(word: str, path: Path) -> DraftData | None:
    if path.suffix.lower() == ".npz":
        return _arrays(word, path)
    form = _FORMATS.get(path.suffix.lower())
    return None if form is None else _table(word, form, {"train": [word]})


def _folder(word: str, path: Path) -> DraftData | None:
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return DraftData(word, {"huggingface": word}, "unknown")
    if not find_files(path).missing:
        return DraftData(word, {"idx": word}, "images")
    if any(path.glob("*.npz")) or any(path.glob("*.npy")) or any(path.glob("*/*.npy")):
        return _arrays(word, path)
    tables = sorted(each for each in path.iterdir() if each.suffix.lower() in _FORMATS)
    if tables:
        return _tables(word, tables)
    return _pictures(word, path)


def _tables(word: str, files: list[Path]) -> DraftData:
    forms = {_FORMATS[each.suffix.lower()] for each in files}
    if len(forms) > 1:
        said = ", ".join(each.name for each in files[:10])
        raise DataError(f"{clipped(repr(word))} holds files of several formats: {said}. Name one.")
    splits: dict[str, list[str]] = {}
    for file in files:
        split = _split_of(file.stem)
        if split is not None:
            splits.setdefault(split, []).append(str(Path(word) / file.name))
    if "train" not in splits:
        if len(files) > 1:
            said = ", ".join(each.name for each in files[:10])
            raise DataError(
                f"{clipped(repr(word))} has no file of a split 'train': {said}. Name the file to "
                "train on, or call it train."
            )
        splits = {"train": [str(Path(word) / files[0].name)]}
    return _table(word, forms.pop(), splits)


def _split_of(stem: str) -> Split | None:
    words = stem.lower().replace("-", "_").replace(".", "_").split("_")
    return next((ours for ours, theirs in _SPLITS if set(words) & set(theirs)), None)


def _table(word: str, form: str, splits: Mapping[str, list[str]]) -> DraftData:
    first = Path(splits["train"][0]).expanduser()
    rows = first_rows(first, form=form)
    if rows is None:
        raise DataError(
            f"the columns of {clipped(repr(str(first)))} can't be seen: it is no table of {form}, "
            "or too large to be looked at. Write the recipe by hand."
        )
    if not any(len(values) for values in rows.values()):
        raise DataError(f"there are no rows in {clipped(repr(str(first)))}.")
    counts = [peek(Path(each).expanduser(), form=form, column=None) for each in splits["train"]]
    known = [None if seen is None else seen.rows for seen in counts]
    files = {split: paths[0] if len(paths) == 1 else paths for split, paths in splits.items()}
    return DraftData(
        word,
        {"huggingface": form, "files": files},
        "table",
        {name: column_of(name, values) for name, values in rows.items()},
        rows=None if None in known else sum(count for count in known if count is not None),
    )


def _arrays(word: str, path: Path) -> DraftData:
    from compress.recipe.draft.arrays import array_columns  # numpy comes with it

    columns, rows = array_columns(path)
    return DraftData(word, {"arrays": word}, "arrays", columns, rows=rows)


def _pictures(word: str, path: Path) -> DraftData | None:
    """Return a folder of images, one folder for each class; those may lie in folders of splits."""
    inner = sorted(each for each in path.iterdir() if each.is_dir())
    splits = [each for each in inner if _split_of(each.name) is not None]
    train = next((each for each in splits if _split_of(each.name) == "train"), path)
    classes = [each for each in sorted(train.iterdir()) if each.is_dir() and any(_images(each))]
    if not classes:
        return None
    rows = sum(1 for each in classes for _ in _images(each))
    return DraftData(
        word,
        {"huggingface": "imagefolder", "folder": word},
        "images",
        classes=tuple(each.name for each in classes),
        rows=rows,
        picture=_picture([next(_images(each)) for each in classes[:8]]),
    )


def _images(folder: Path) -> Iterator[Path]:
    return (each for each in sorted(folder.iterdir()) if each.suffix.lower() in _PICTURES)


def _picture(files: list[Path]) -> tuple[int, int, int] | None:
    from compress.recipe.draft.pictures import size_of  # Pillow comes with it

    found = {size_of(each) for each in files}
    return found.pop() if len(found) == 1 else None


def _listed(paths: Any) -> list[str]:
    return [] if paths is None else paths if isinstance(paths, list) else [paths]
