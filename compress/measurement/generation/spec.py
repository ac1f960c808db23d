"""Lengths of the prompt and of the answer with which generation is timed."""

from __future__ import annotations

from pydantic import Field

from compress.core.bounds import MOST_TOKENS
from compress.core.options import Options
from compress.errors import InputError, expected

PREFILL, DECODING = "prefill", "decoding"
"""The two parts of generating: the prompt is read at once, then one token follows another."""
GENERATES = "text-generation"
"""Name of the task whose models generate text."""
_PROMPT, _ANSWER = 64, 32


class GenerationSpec(Options):
    """Lengths of the text with which generation is timed, in tokens, one text at a time."""

    prompt: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    """Tokens of the prompt. Null: 64, or fewer where prompt and answer would be longer than the
    data's `max_length`."""
    answer: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    """Tokens of the answer. Null: 32, or fewer in the same way."""

    def problem(self, task: str, *, most: int | None) -> str | None:
        """Return what is wrong with the lengths for a task, as a sentence; None for nothing.

        Parameters
        ----------
        most : tokens that a text may have; None if that isn't known.
        """
        if task != GENERATES:
            return expected("generation", f"left out for every task but {GENERATES}", task)
        try:
            self.lengths(most or MOST_TOKENS)
        except InputError as error:
            return str(error)
        return None

    def lengths(self, most: int) -> tuple[int, int]:
        """Return the numbers of tokens of the prompt and of the answer.

        Parameters
        ----------
        most : tokens that a text may have.

        Raises
        ------
        InputError : both together are longer, or nothing is left for one of them.
        """
        prompt, answer = self.prompt, self.answer
        if prompt is None:
            prompt = min(_PROMPT, most - answer if answer else max(most * 2 // 3, 1))
        if answer is None:
            answer = min(_ANSWER, most - prompt)
        if prompt < 1 or answer < 1 or prompt + answer > most:
            allowed = f"a prompt and an answer of together at most {most} tokens (max_length)"
            raise InputError(expected("generation", allowed, self.model_dump(exclude_none=True)))
        return prompt, answer
