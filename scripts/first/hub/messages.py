"""Errors of the Hub and the network as one line for the user, without credentials."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from scripts.first.errors import UserError, without_passwords
from scripts.first.hub.mirror import VARIABLES


def page(kind: str, repo: str) -> str:
    """Address of a repository's page; kind is `model` or `dataset`."""
    return f"https://huggingface.co/{'' if kind == 'model' else kind + 's/'}{repo}"


@contextlib.contextmanager
def one_line_errors(kind: str, repo: str, revision: str) -> Iterator[None]:
    """Turn errors of huggingface_hub into UserError; silence its warnings, which show addresses."""
    import httpx2
    from huggingface_hub import errors
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    try:
        yield
    except (httpx2.HTTPError, errors.HFValidationError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        while isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
            error = error.__cause__
        if isinstance(error, errors.GatedRepoError):
            what = "gated"
            advice = f"accept its licence on {page(kind, repo)} and set HF_TOKEN to your read token"
        elif isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
            what = "not found on the Hub"
            advice = "correct `repo` and `revision`, or set HF_TOKEN if the repository is private"
        elif isinstance(error, errors.OfflineModeIsEnabled | httpx2.TransportError):
            what = "not in the cache, and no connection to the Hub"
            advice = f"run this rule once with network access, or set {VARIABLES[kind]}"
        else:
            what, advice = "error of the Hub", "run it again, and check HF_TOKEN if it persists"
        reason = _redact(error).rstrip(" .:")
        raise UserError(f"{what}: {kind} {repo} at {revision}: {reason}: {advice}") from None


def _redact(text: object) -> str:
    """First line of a message without the token, `user:password@` and queries of addresses.

    Addresses of stored files are signed, and a server may return the token that it was sent.
    """
    from huggingface_hub import get_token

    line = (str(text).strip().splitlines() or [type(text).__name__])[0]
    line = without_passwords(re.sub(r"\?[^\s'\")]*=[^\s'\"):]*", "", line))
    token = get_token()
    return line.replace(token, "***") if token else line
