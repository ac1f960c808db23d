"""Messages about code that comes with a model, a tokenizer or a data set: it is never run."""

from __future__ import annotations

from compress.errors import clipped

NEVER = "it needs its own code to run, and code that comes with a model or data is never run"
_ASKS = ("trust_remote_code", "custom code", "Dataset scripts")


def asks(error: BaseException) -> bool:
    """Return whether a library refused to load something because that would run its code."""
    return any(words in str(error) for words in _ASKS)


def why(error: BaseException) -> str:
    """Reason why a library couldn't load something, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if asks(error):
        return f"{NEVER}."
    return clipped(text, most=300)
