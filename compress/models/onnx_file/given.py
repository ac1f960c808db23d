"""A given ONNX file as the model that a run begins with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.artifact import Format
from compress.core.batch import model_inputs
from compress.errors import ModelError, clipped
from compress.measurement.bench.inputs import vocabularies
from compress.measurement.session import TOKENS
from compress.models.folder.header import known_config
from compress.models.folder.labels import labels_of
from compress.models.folder.sentence_transformers import sentence_folder
from compress.models.onnx_file.apart import take_apart
from compress.models.onnx_file.beside import LABELS, names_in, preprocessing_of
from compress.models.onnx_file.load import SAMPLES, GivenFile
from compress.models.onnx_file.matching import fixed_length, match_inputs, wanted_outputs
from compress.models.onnx_file.problems import is_quantized
from compress.models.onnx_file.scores import names_of_zipmap
from compress.models.spec import is_folder
from compress.models.transformers.positions import longest_text
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.header import read_header

if TYPE_CHECKING:
    from compress.core.context import Data, Task
    from compress.data.preprocess import Preprocessor
    from compress.models.folder.sentence_transformers import SentenceModel
    from compress.models.spec import ModelSpec

_FILE = "model.onnx"


class GivenModel:
    """An ONNX file that a recipe begins with, and what belongs to it.

    Parameters
    ----------
    spec : the recipe's `model`.
    path : its file.

    Raises
    ------
    ModelError : the file can't be read.
    """

    def __init__(self, spec: ModelSpec, path: Path) -> None:
        self._spec, self._path = spec, path
        self._header = read_header(path)

    @property
    def format(self) -> Format:
        """The artifact's format."""
        return Format.ONNX_INT8 if is_quantized(self._header) else Format.ONNX

    @property
    def preprocessing(self) -> str | None:
        """Folder or hub id of the tokenizer or image processor; None if unknown."""
        return preprocessing_of(self._spec)

    @cached_property
    def sentence(self) -> SentenceModel | None:
        """The steps of a sentence-transformers model in the preprocessing's folder."""
        named = self.preprocessing
        return sentence_folder(named) if named is not None and is_folder(named) else None

    def labels(self, task: Task) -> tuple[str, ...]:
        """Return the class names that the file or its config gives, in the order of the scores."""
        if wanted_outputs(task)[0].activation is None:
            return ()
        named = names_in(self._header) or names_of_zipmap(self._path)
        if named or task.target == "own":
            return named
        return labels_of(self._spec, known_config(self._spec))

    def longest_text(self, task: Task) -> int | None:
        """Return the number of tokens that the file can read; None if it doesn't say."""
        if task.modality != "text":
            return None
        found = [longest_text(known_config(self._spec)), fixed_length(self._header.inputs)]
        return min((length for length in found if length is not None), default=None)

    def taken(
        self,
        data: Data,
        preprocessor: Preprocessor,
        *,
        task: Task,
        labels: Sequence[str],
        folder: Path,
    ) -> tuple[Path, tuple[str, ...]]:
        """Write the file in the form that stages work on; return its path and notes.

        Parameters
        ----------
        labels : class names in the order of the scores, for the file's metadata.
        folder : an empty folder.

        Raises
        ------
        ModelError : see `compress.models.onnx_file.apart.take_apart`.
        """
        length = fixed_length(self._header.inputs) if task.modality == "text" else None
        loader = data.loader(
            "train",
            preprocessor,
            batch_size=SAMPLES,
            limit=SAMPLES,
            fixed_length=length is not None,
        )
        given = GivenFile(
            self._path,
            inputs=self._spec.inputs or {},
            outputs=self._spec.outputs or {},
            wanted=wanted_outputs(task),
            target=task.target,
            texts=task.modality == "text",
        )
        metadata = {"task": task.name}
        if labels:
            metadata[LABELS] = json.dumps(list(labels), ensure_ascii=False)
        config = {key: x for key, x in known_config(self._spec).items() if key != "_name_or_path"}
        if config:
            metadata["config"] = json.dumps(config, sort_keys=True)
        batch = model_inputs(next(iter(loader)))
        self._require_vocabulary(preprocessor, batch, task)
        notes = take_apart(given, batch, to=folder / _FILE, metadata=metadata)
        return folder / _FILE, (self._what_it_is(), *notes)

    def _require_vocabulary(
        self, preprocessor: Preprocessor, batch: Mapping[str, Any], task: Task
    ) -> None:
        """Require that the file knows as many tokens as the tokenizer, if its graph says."""
        tokenizer = preprocessor.tokenizer
        if tokenizer is None:
            return
        given = match_inputs(
            self._header.inputs, tuple(batch), self._spec.inputs or {}, target=task.target
        )
        tables = vocabularies(load_graph(self._path))
        known = next((tables.get(own) for own, name in given.items() if name == TOKENS), None)
        if known is not None and len(tokenizer) > known:
            raise ModelError(
                f"the tokenizer has {len(tokenizer)} tokens, but {self._path.name} knows only "
                f"{known}: name the file's own with 'model.preprocessing'."
            )

    def _what_it_is(self) -> str:
        written = f", written by {clipped(self._header.producer)}" if self._header.producer else ""
        return (
            f"the reference is the given file {self._path.name} (opset {self._header.opset}"
            f"{written}): every answer is compared with its own"
        )
