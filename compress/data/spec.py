"""The recipe's `data` keys. Imports nothing heavy: a recipe check reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from compress.core.bounds import HEAVIEST, MOST_PIXELS_A_SIDE, MOST_SAMPLES, MOST_TOKENS
from compress.core.context import Split
from compress.core.files.paths import exists, file_problem, folder_problem, only_a_path
from compress.core.foreign.entries import entry_problem
from compress.core.options import Options
from compress.data.sources.idx import find_files
from compress.errors import clipped, expected

SOURCES = ("huggingface", "idx", "sklearn", "arrays", "beir", "python")
"""Keys that name where samples come from."""
IMAGE_SOURCES = frozenset({"idx", "sklearn"})
"""The sources whose samples are always images."""
FILE_FORMATS = ("parquet", "csv", "json", "arrow")
"""Values of `huggingface` that read `files`; "imagefolder" reads `folder`."""

Samples = Annotated[int, Field(ge=1, le=MOST_SAMPLES)]
Pixels = Annotated[int, Field(ge=1, le=MOST_PIXELS_A_SIDE)]
Problem = tuple[str, str]
"""A dotted key, and what is wrong with it."""
Fraction = Annotated[float, Field(gt=0.0, le=0.4)]


class Columns(Options):
    """Names of the data's columns. For a Python source they are keys of its samples."""

    text: str = "text"
    """Column of the text."""
    text_pair: str | None = None
    """Column of a second text, for tasks on pairs."""
    tokens: str = "tokens"
    """Column of the words, for token-classification: lists of strings."""
    image: str = "image"
    """Column of the image."""
    label: str | None = "label"
    """Column of the label; null: the data has no labels. A class is a name or a number from 0.
    Token classification takes lists of classes, one for each word (-100: none). Multi-label takes
    lists of classes, or lists of floats or booleans, one for each class; a model of a single class
    takes 0 or 1 too. Text generation and feature extraction read no labels."""
    inputs: dict[str, str | list[str]] | None = None
    """Columns of the inputs by name, for tasks on tensors and tasks of one's own; several columns
    of numbers become one vector. Null: the task's own names, or every column but the labels."""
    targets: dict[str, str | list[str]] | None = None
    """Columns of the labels by the output's name, for models with several outputs, instead of
    `label`."""


class Vocabulary(Options):
    """Options of a byte-level BPE that is trained (Sennrich et al., 2016; Radford et al., 2019)."""

    vocab_size: int = Field(default=4096, ge=300, le=1_000_000)
    """Largest number of tokens, special ones included; the model must have as many."""


class TrainedTokenizer(Options):
    """A tokenizer that is trained on the texts of the train split. It is the same in every run."""

    train: Vocabulary
    """Options of the training."""


class ImageSpec(Options):
    """Preprocessing of images: resize, scale to [0, 1], then (x - mean) / std, per channel."""

    size: tuple[Pixels, Pixels] | None = None
    """Height and width in pixels to resize to; null: images stay as large as they are."""
    channels: Literal[1, 3] | None = None
    """Channels: 1 for grey, 3 for RGB; null: as many as `mean` has, or else the images."""
    mean: list[Annotated[float, Field(ge=-HEAVIEST, le=HEAVIEST)]] | None = None
    """Mean of each channel for values in [0, 1]; null: 0."""
    std: list[Annotated[float, Field(gt=0.0, le=HEAVIEST)]] | None = None
    """Standard deviation of each channel for values in [0, 1]; null: 1."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, 3):
                raise ValueError(f"'{name}' must be 1 or 3 numbers. Got {len(values)}.")
        lengths = {len(values) for values in (self.mean, self.std) if values is not None}
        if self.channels is not None:
            lengths.add(self.channels)
        if len(lengths) > 1:
            raise ValueError("'mean', 'std' and 'channels' must be of one number of channels.")
        return self


class DataSpec(Options):
    """The source of samples: exactly one of `huggingface`, `idx`, `sklearn`, `arrays`, `beir` and
    `python`."""

    huggingface: Annotated[str, Field(min_length=1)] | None = None
    """A data set of the Hugging Face hub, or a local folder of one. Or a format: parquet, csv, json
    or arrow, whose files `files` names, or imagefolder, whose folder `folder` names."""
    idx: Path | None = None
    """A folder of IDX files, gzipped or not, with MNIST's names (train-images-idx3-ubyte …)."""
    sklearn: Literal["digits"] | None = None
    """A small data set inside scikit-learn: 1,797 handwritten digits of 8x8 pixels."""
    arrays: Path | None = None
    """A .npz file, or a folder with one for each split (train.npz), or with a .npy file for each
    array; for tasks on tensors and tasks of one's own."""
    beir: Path | None = None
    """A folder as BEIR has it, for embeddings: corpus.jsonl, queries.jsonl and qrels/test.tsv. The
    queries of the test split search the whole corpus."""
    python: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    """"package.module:function". The function returns a mapping of split names to sequences of
    mappings, such as {"train": [{"image": …, "label": 3}, …]}. Images are PIL or uint8 arrays."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the `python` function."""
    files: dict[Split, Path | list[Path]] | None = None
    """File or files of each split, relative to the current folder."""
    folder: Path | None = None
    """Folder of `imagefolder`. It holds a folder for each class, or for each split one that does.
    """
    config: str | None = None
    """Configuration of a hub data set that has several."""
    revision: str | None = None
    """Commit, tag or branch of a hub data set."""
    splits: dict[Split, str] | None = None
    """The source's name of each split, such as {validation: dev}; null: the same names. For `idx`
    these are the beginnings of the files' names; null: train, validation, and t10k for test."""
    columns: Columns = Columns()
    """Names of the columns."""
    max_length: Annotated[int, Field(ge=2, le=MOST_TOKENS)] | None = None
    """Tokens kept of a text; null: as many as the tokenizer allows, at most 512. For text
    generation it is the length of the blocks into which the whole text is cut."""
    tokenizer: str | TrainedTokenizer | None = None
    """Folder or hub id of the tokenizer; `{train: {vocab_size: ...}}` trains one from the train
    split; null: the model's own."""
    image: ImageSpec | None = None
    """Preprocessing of images; null: the model's own image processor. Without one, values are
    scaled to [0, 1]."""
    limit: dict[Split, Samples] = Field(default_factory=dict)
    """Number of samples to which a split is limited, such as {train: 5000}; its first are kept."""
    validation_fraction: Fraction = 0.1
    """Fraction of train that becomes validation if the data has none."""
    test_fraction: Fraction = 0.1
    """Fraction of train that becomes test if the data has none."""
    calibration_samples: Samples = 512
    """Number of train samples that also serve for calibration if the data has no such split."""

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of {', '.join(SOURCES)} must be named. "
                f"Got {' and '.join(given) or 'none'}."
            )
        for problem in _misfits(self):
            raise ValueError(problem)
        return self

    @property
    def source(self) -> str:
        """The key that says where samples come from, one of `SOURCES`."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @property
    def has_pairs(self) -> bool:
        """True if the data has pairs of texts, or queries with a corpus."""
        return self.columns.text_pair is not None or self.beir is not None

    @property
    def from_hub(self) -> bool:
        """True if `huggingface` is a data set's id or folder and not a file format."""
        return self.huggingface is not None and self.huggingface not in (
            *FILE_FORMATS,
            "imagefolder",
        )

    def paths(self, split: Split) -> list[Path]:
        """The `files` of a split."""
        named = (self.files or {}).get(split, [])
        return named if isinstance(named, list) else [named]

    def local_paths(self) -> tuple[Path, ...]:
        """Local files and folders that the training samples come from; empty for other sources."""
        folders = (self.folder, self.idx, self.arrays, self.beir)
        named = [path for path in folders if path is not None]
        if self.from_hub and self.huggingface is not None and Path(self.huggingface).is_dir():
            named.append(Path(self.huggingface))
        return (*self.paths("train"), *named)

    def check(self) -> list[Problem]:
        """(dotted key, problem) pairs that can be found without reading data."""
        return _problems(self)


def _misfits(spec: DataSpec) -> list[str]:
    """Problems of keys that their source would ignore, or that it needs and lacks."""
    wants_files = spec.huggingface in FILE_FORMATS
    wants_folder = spec.huggingface == "imagefolder"
    names_splits = not wants_files and spec.sklearn is None
    rules = (
        ("files", spec.files is not None, wants_files, f"'huggingface' {', '.join(FILE_FORMATS)}"),
        ("folder", spec.folder is not None, wants_folder, "'huggingface: imagefolder'"),
        ("config", spec.config is not None, spec.from_hub, "a hub data set"),
        ("revision", spec.revision is not None, spec.from_hub, "a hub data set"),
        ("arguments", bool(spec.arguments), spec.python is not None, "'python'"),
        (
            "columns",
            "columns" in spec.model_fields_set,
            spec.beir is None,
            "data but 'beir'",
        ),
        ("splits", spec.splits is not None, names_splits, "data without 'files' and 'sklearn'"),
    )
    problems = [f"'{key}' is only for {use}." for key, given, fits, use in rules if given > fits]
    if wants_files and "train" not in (spec.files or {}):
        problems.append(f"'huggingface: {spec.huggingface}' needs 'files' with a 'train' entry.")
    if wants_folder and spec.folder is None:
        problems.append("'huggingface: imagefolder' needs 'folder'.")
    return problems


def _problems(spec: DataSpec) -> list[Problem]:
    problems = [
        *_files(spec),
        *_folder(spec),
        *_idx(spec),
        *_arrays(spec),
        *_beir(spec),
        *_python(spec),
    ]
    for key, name in (("huggingface", spec.huggingface), ("tokenizer", spec.tokenizer)):
        if isinstance(name, str) and only_a_path(name) and not exists(name):
            problems.append(
                (key, f"there is no folder {clipped(repr(name))}: {folder_problem(name)}.")
            )
    return problems


def _files(spec: DataSpec) -> list[Problem]:
    return [
        (f"files.{split}", f"there is no file {clipped(repr(str(path)))}: {problem}.")
        for split in spec.files or {}
        for path in spec.paths(split)
        if (problem := file_problem(path)) is not None
    ]


def _folder(spec: DataSpec) -> list[Problem]:
    problem = None if spec.folder is None else folder_problem(spec.folder)
    if problem is None:
        return []
    return [("folder", f"there is no folder {clipped(repr(str(spec.folder)))}: {problem}.")]


def _idx(spec: DataSpec) -> list[Problem]:
    if spec.idx is None:
        return []
    problem = folder_problem(spec.idx)
    if problem is not None:
        return [("idx", f"there is no folder {clipped(repr(str(spec.idx)))}: {problem}.")]
    return [("idx", missing) for missing in find_files(spec.idx, spec.splits).missing]


def _arrays(spec: DataSpec) -> list[Problem]:
    if spec.arrays is None or spec.arrays.is_dir():
        return []
    problem = file_problem(spec.arrays)
    if problem is not None:
        said = clipped(repr(str(spec.arrays)))
        return [("arrays", f"there is no file or folder {said}: {problem}.")]
    if spec.arrays.suffix != ".npz":
        return [("arrays", expected("arrays", "a .npz file or a folder", str(spec.arrays)))]
    return []


def _beir(spec: DataSpec) -> list[Problem]:
    problem = None if spec.beir is None else folder_problem(spec.beir)
    if problem is not None:
        return [("beir", f"there is no folder {clipped(repr(str(spec.beir)))}: {problem}.")]
    return []


def _python(spec: DataSpec) -> list[Problem]:
    problem = None if spec.python is None else entry_problem(spec.python)
    return [] if problem is None else [("python", problem)]
