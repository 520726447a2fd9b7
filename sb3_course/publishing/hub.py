"""The Hugging Face Hub: who is logged in, and the upload of a folder."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sb3_course.common.errors import UserError, in_words

LOGIN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


def repository(name: str) -> str:
    """Return the full name of a repository, after a check of network and login.

    :param name: ``USER/MODEL``, or ``MODEL`` for one of the user who is logged in
    :return: ``USER/MODEL``
    :raises UserError: If the name is malformed, the Hub is not reached, or nobody is logged in
    """
    api = _api()
    utils: Any = import_module("huggingface_hub.utils")
    with _explained("--push"):
        utils.validate_repo_id(name)
    alone = "without --push the folder is made all the same"
    with _explained(f"--push: {api.endpoint} does not answer; {alone}"):
        user = api.whoami()
    return name if "/" in name else f"{user['name']}/{name}"


def push(folder: Path, repo: str) -> str:
    """Upload a folder to a repository, which is made if it does not exist.

    :param folder: Folder
    :param repo: ``USER/MODEL``
    :return: Address of the repository
    :raises UserError: If that fails; says how to try again
    """
    api = _api()
    command = shlex.join(["hf", "upload", repo, str(folder)])
    again = f"--push: {folder} is complete, but its upload failed; `{command}`"
    with _explained(f"{again} tries again"):
        made = api.create_repo(repo, exist_ok=True)
        api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message="Upload model, card and evaluation"
        )
    return str(made)


def _api() -> Any:
    """Return the Hub's client, which takes its address from HF_ENDPOINT."""
    if find_spec("huggingface_hub") is None:
        raise UserError("--push needs huggingface_hub: pip install 'sb3-course[hub]'")
    from huggingface_hub import HfApi

    return HfApi()


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Explain what went wrong within a context, and how to log in where that is the reason."""
    try:
        yield
    except Exception as error:  # of requests, httpx or the client itself: it depends on its version
        status = getattr(getattr(error, "response", None), "status_code", None)
        unknown = status == 401 or type(error).__name__ == "LocalTokenNotFoundError"
        if unknown:
            raise UserError(f"--push: nobody is logged in at the Hub: {LOGIN}") from error
        hint = f"; {LOGIN}" if status == 403 else ""
        raise UserError(f"{what}: {in_words(error)[:200]}{hint}") from error
