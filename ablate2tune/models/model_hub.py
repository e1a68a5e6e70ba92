"""Names on a hub: which words are one, and a line for each way in which a hub says no."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from ablate2tune.errors import UserError, did_you_mean, reason

CHECKOUT = Path(__file__).parents[2]
"""What recipes' relative paths are below, if the package is not installed elsewhere."""
FOLDERS = ("checkpoints", "data", "model", "models", "output", "outputs", "runs", "weights")
"""First parts of a path that are no owner on a hub."""
SECONDS = 10
"""That a hub has to answer in."""
INDEX = "model_index.json"
GGUF = ".gguf"
NOT_GIVEN = (OSError, ValueError, httpx.HTTPError)
"""What a hub's client raises, and diffusers over it."""


def check_is_hub_name(path: str) -> None:
    """Refuse what is no folder here and looks like a path all the same.

    Raises:
        UserError: it is no "owner/name", or its parent is a folder here.
    """
    folder, where = Path(path), f"model.path = {path}"
    if (CHECKOUT / path).is_dir():
        raise UserError(
            "no such folder below the current one", where=where, mend=f"run it from {CHECKOUT}"
        )
    is_name = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", path)
    if not is_name or folder.parent.is_dir() or folder.parts[0] in FOLDERS:
        beside = folder.parent.glob("[!.]*") if folder.parent.is_dir() else []
        near = sorted(str(p) for p in beside if p.is_dir() or p.suffix == folder.suffix == GGUF)
        mend = did_you_mean(path, near) or f"relative paths start here, in {Path.cwd()}"
        raise UserError("no such model directory", where=where, mend=mend)


def ask_hub(name: str) -> None:
    """Ask about a model that is not in the local cache, once: no answer is a line, not retries.

    Raises:
        UserError: the hub does not know it, cannot be reached, or must not be asked.
    """
    if isinstance(huggingface_hub.try_to_load_from_cache(name, INDEX), str):
        return
    try:
        huggingface_hub.model_info(name, timeout=SECONDS)
    except NOT_GIVEN as error:
        raise hub_error(name, error) or UserError(
            f"the hub gives no model ({reason(error)})", where=f"model.path = {name}"
        ) from error


def hub_error(name: str, error: BaseException) -> UserError | None:
    """What a hub's error means for the user; None for an error of another kind.

    diffusers and transformers raise OSError over a hub's errors, which are still among its causes.
    """
    causes = list(_causes(error))

    def is_a(*types: type[BaseException]) -> bool:
        return any(isinstance(cause, types) for cause in causes)

    if is_a(GatedRepoError):
        what = "its licence must be accepted on its page before it can be fetched"
        mend = "accept it there, then log in here as the same user: `hf auth login`"
    elif is_a(RepositoryNotFoundError, HFValidationError):
        what = "no such folder here, and no such model on the hub"
        mend = "check the name, which may have moved; for a private model, `hf auth login`"
    elif is_a(OfflineModeIsEnabled):
        what = "not in the local cache, and HF_HUB_OFFLINE forbids to fetch it"
        mend = "unset HF_HUB_OFFLINE, or give a folder"
    elif is_a(LocalEntryNotFoundError, httpx.TransportError, ConnectionError, TimeoutError):
        what = "no such folder here, nor in the local cache, and the hub cannot be reached"
        mend = "connect to the network, or give a folder"
    elif is_a(HfHubHTTPError):
        said = next(cause for cause in causes if isinstance(cause, HfHubHTTPError))
        what, mend = f"the hub refuses it ({reason(said)})", None
    else:
        return None
    return UserError(what, where=f"model.path = {name}", mend=mend)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
