"""Data that the `datasets` library reads: from the hub, local files, or folders of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.context import Task
from compress.core.files.paths import file_problem, folder_problem, only_a_path
from compress.core.foreign.boundary import described, reading
from compress.core.foreign.remote_code import why
from compress.data.fingerprint import digest, digest_files, digest_folder
from compress.data.rows import (
    LABEL_CHUNK,
    Indices,
    Rows,
    Values,
    input_columns,
    label_column,
    require_texts,
)
from compress.data.sources.extent import require_extent
from compress.data.sources.functions import choose_splits, unused_note
from compress.data.sources.local_folder import require_inside
from compress.data.sources.quiet import quiet
from compress.data.sources.source import Source
from compress.data.spec import FILE_FORMATS, DataSpec
from compress.errors import DataError, clipped, unknown

_LOCAL = (
    "name a local folder instead ('huggingface: ./folder'), or local files "
    "('huggingface: parquet' and 'files: {train: train.parquet, …}')."
)

_IMAGE_TYPES = ("string", "large_string", "binary", "large_binary")
"""Column types that may hold images, as paths or contents of files."""


@dataclass(frozen=True)
class TableRows:
    """A split of `datasets`: memory-mapped, and decoded only when fetched."""

    split: str
    inputs: Any
    targets: Any
    columns: dict[str, str]
    label_names: tuple[str, ...] | None

    def __len__(self) -> int:
        """See `Rows`."""
        return len(self.inputs)

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`.

        Raises
        ------
        DataError : an image can't be decoded, or a text is missing.
        """
        failed = f"rows of split '{self.split}' can't be read"
        try:
            with reading(self.split, error=DataError, failed=failed):
                found = self.inputs[indices.tolist()]
        except DataError:
            self._name_the_row(indices)
            raise
        fetched = {ours: found[theirs] for ours, theirs in self.columns.items()}
        require_texts(fetched, indices, self.split, self.columns)
        return fetched

    def _name_the_row(self, indices: Indices) -> None:
        """Fetch each row alone, so that the error names the row."""
        what = "an image" if "image" in self.columns else "a text"
        for row in indices.tolist():
            failed = f"row {row}: {what} of split '{self.split}' can't be read"
            with reading(self.split, error=DataError, failed=failed):
                self.inputs[row]

    def labels(self) -> Iterator[Values]:
        """See `Rows`."""
        if self.targets is None:
            return
        for start in range(0, len(self), LABEL_CHUNK):
            column = self.targets[start : start + LABEL_CHUNK].column(0)
            whole = str(column.type).startswith(("int", "uint")) and not column.null_count
            yield column.to_numpy() if whole else column.to_pylist()


def open_huggingface(name: str, spec: DataSpec, task: Task) -> Source:
    """The source that `huggingface` names.

    Raises
    ------
    DataError : files are missing or broken, the hub can't be reached, or a column is missing.
    """
    with quiet():
        if name in FILE_FORMATS:
            tables, content = _from_files(name, spec)
            notes: tuple[str, ...] = ()
        else:
            available, content = _from_folder_or_hub(name, spec)
            names = choose_splits(list(available), spec.splits)
            tables = {ours: available[theirs] for ours, theirs in names.items()}
            notes = unused_note(available, names)
            if not tables:
                raise DataError(
                    f"{name!r} has none of our splits. Found: {', '.join(sorted(available))}. "
                    "Say which is which with 'splits', such as {train: training}."
                )
        splits = {split: _table_rows(split, table, spec, task) for split, table in tables.items()}
    return Source(splits, content, notes)


def _from_files(name: str, spec: DataSpec) -> tuple[dict[str, Any], str]:
    tables: dict[str, Any] = {}
    content: dict[str, str] = {}
    for split in spec.files or {}:
        paths = spec.paths(split)
        for path in paths:
            problem = file_problem(path)
            if problem is not None:
                said = clipped(repr(str(path)))
                raise DataError(f"split '{split}': there is no file {said}: {problem}.")
            if not path.stat().st_size:
                raise DataError(f"split '{split}': the file '{path}' is empty.")
            require_extent(name, path)
        # Each split is loaded alone, so that an error names the split that lacks a column.
        # An empty cell of a CSV is an empty text, and a label may be called "NA".
        options: dict[str, Any] = {"keep_default_na": False} if name == "csv" else {}
        with reading(f"the files of split '{split}'", error=DataError):
            content[split] = digest_files(paths)
        # `datasets` caches tables by path and time; this name adds the content to the key.
        version = f"sha256-{content[split][:16]}"
        loaded = _load(name, version, data_files={split: [str(path) for path in paths]}, **options)
        tables[split] = loaded[split]
    return tables, digest(content)


def _from_folder_or_hub(name: str, spec: DataSpec) -> tuple[dict[str, Any], str]:
    if name == "imagefolder":
        folder = spec.folder
        problem = "none is named" if folder is None else folder_problem(folder)
        if folder is None or problem is not None:
            raise DataError(f"there is no folder {clipped(repr(str(folder)))}: {problem}.")
        return _load(name, data_dir=str(folder)), _digest_folder(folder)
    path, problem = Path(name), folder_problem(name)
    if problem is None:
        with reading(f"the data set '{path}'", error=DataError):
            return _load_local(path, spec), _digest_folder(path)
    if only_a_path(name):
        raise DataError(f"there is no folder {clipped(repr(name))}: {problem}.")
    loaded = _load(name, spec.config, revision=spec.revision)
    # The fingerprint is taken from the Arrow files that `datasets` made of the hub's content.
    files = {
        split: digest_files(Path(file["filename"]) for file in table.cache_files)
        for split, table in loaded.items()
    }
    return loaded, digest(files)


def _digest_folder(folder: Path) -> str:
    with reading(f"the files of '{folder}'", error=DataError):
        return digest_folder(folder)


def _load_local(folder: Path, spec: DataSpec) -> dict[str, Any]:
    import datasets

    require_inside(folder)
    if (folder / "dataset_dict.json").is_file():  # written by DatasetDict.save_to_disk
        return dict(datasets.load_from_disk(str(folder)))
    if (folder / "state.json").is_file():  # written by Dataset.save_to_disk
        return {"train": datasets.load_from_disk(str(folder))}
    return _load(str(folder), spec.config)


def _load(name: str, config: str | None = None, **options: Any) -> dict[str, Any]:
    """All splits by name; every failure becomes a DataError of one sentence."""
    import datasets

    files = options.get("data_files") or options.get("data_dir")
    said = clipped(str(files or name))
    try:
        with reading(said, error=DataError, failed=f"{said} can't be read as {clipped(name)}"):
            return dict(datasets.load_dataset(name, config, **options))
    except DataError as error:
        cause = error.__cause__
        if "corresponds to no data" in str(cause) and "data_files" in options:
            (split, paths), *_ = options["data_files"].items()
            named = clipped(", ".join(paths))
            raise DataError(f"split '{split}' is empty: {named} has no rows.") from error
        if isinstance(cause, datasets.exceptions.DatasetGenerationError) and cause.__cause__:
            reason = described(cause.__cause__)
            raise DataError(f"{said} can't be read as {clipped(name)}: {reason}") from error
        if files or folder_problem(name) is None:
            raise
        raise DataError(
            f"the data set {clipped(repr(name))} can't be loaded from the hub "
            f"({why(cause or error)}). Without a connection, {_LOCAL}"
        ) from error


def _table_rows(split: str, table: Any, spec: DataSpec, task: Task) -> Rows:
    import datasets

    columns = input_columns(spec.columns, task, table.column_names)
    label = label_column(spec.columns, task)
    for column in (*columns.values(), *([] if label is None else [label])):
        if column not in table.column_names:
            raise DataError(
                f"split '{split}': {unknown('column', column, table.column_names)} "
                "Say which column is which with 'columns'."
            )
    inputs = table.select_columns(list(columns.values()))
    if task.modality == "image":
        inputs = _as_images(inputs, columns["image"], split)
    if label is None:
        return TableRows(split, inputs, None, columns, None)
    feature = table.features[label]
    feature = getattr(feature, "feature", feature)  # the type of a list's items
    names = tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None
    targets = table.select_columns([label]).with_format("arrow")
    return TableRows(split, inputs, targets, columns, names)


def _as_images(table: Any, column: str, split: str) -> Any:
    import datasets

    feature = table.features[column]
    if isinstance(feature, datasets.Image):
        return table
    is_encoded = isinstance(feature, dict) and set(feature) == {"bytes", "path"}
    if is_encoded or getattr(feature, "dtype", None) in _IMAGE_TYPES:
        return table.cast_column(column, datasets.Image())
    held = clipped(str(feature))
    raise DataError(f"split '{split}': column '{column}' holds {held}, not images.")
