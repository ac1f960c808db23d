"""Finds out once, and quickly, if the Hugging Face hub can be reached.

The hub's own client retries for half a minute before it gives up.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from compress.errors import ModelError

TIMEOUT_SECONDS = 5.0


def only_cached(name: str, *, revision: str | None) -> bool:
    """Return whether a hub model must come from the local cache since the hub can't be reached.

    Parameters
    ----------
    name : hub id, such as "prajjwal1/bert-tiny".
    revision : branch, tag or commit; None: main.

    Raises
    ------
    ModelError : the hub can't be reached, and the cache doesn't hold the model.
    """
    from huggingface_hub import try_to_load_from_cache

    problem = _unreachable()
    if problem is None:
        return False
    cached = try_to_load_from_cache(name, "config.json", revision=revision)
    if isinstance(cached, str):
        return True
    raise ModelError(
        f"model {name!r} is neither a folder here nor in the local cache, and the hub can't be "
        f"reached ({problem}). Name a local folder that holds config.json and the weights, such as "
        f"'transformers: ./{name.rsplit('/', 1)[-1]}', or run where there is a network."
    )


def cached_folder(name: str, *, revision: str | None) -> Path | None:
    """Return the folder of a hub model in the local cache, which may lack some of its files.

    Parameters
    ----------
    name, revision : see `only_cached`.

    Returns
    -------
    None if the cache doesn't hold the model's config.json.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:  # no name of the hub's; loading says so
        return None
    return Path(cached).parent if isinstance(cached, str) else None


def _unreachable() -> str | None:
    from huggingface_hub import constants

    if os.environ.get("TRANSFORMERS_OFFLINE") == "1" or constants.HF_HUB_OFFLINE:
        return "offline mode is set"
    request = Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 (the user's own setting)
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
            return None
    except HTTPError:
        return None  # the hub answers, even if it refuses
    except (OSError, ValueError) as error:
        return f"{constants.ENDPOINT}: {getattr(error, 'reason', error)}"
