"""Errors of the Hub and the network as one line for the user, without credentials."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator

from scripts.first.errors import UserError, without_passwords
from scripts.first.hub.mirror import VARIABLES


def page(kind: str, repo: str) -> str:
    """Address of a repository's page; kind is `model` or `dataset`."""
    return f"https://huggingface.co/{'' if kind == 'model' else kind + 's/'}{repo}"


@contextlib.contextmanager
def one_line_errors(kind: str, repo: str, revision: str) -> Iterator[None]:
    """Turn errors of huggingface_hub into UserError, and keep credentials out of its log."""
    import httpx2
    from huggingface_hub.errors import HFValidationError

    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_redact_record)
    try:
        yield
    except (httpx2.HTTPError, HFValidationError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        raise UserError(_explain(error, kind, repo, revision)) from None


def _explain(error: BaseException, kind: str, repo: str, revision: str) -> str:
    import httpx2
    from huggingface_hub import errors

    offline = (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError)
    offline += (httpx2.ConnectError, httpx2.TimeoutException, httpx2.ProxyError)
    while isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__
    what, reason = f"{kind} {repo} at {revision}", _redact(error).rstrip(" .:")
    if isinstance(error, errors.GatedRepoError):
        advice = f"accept its licence on {page(kind, repo)} and set HF_TOKEN to your read token"
        return f"gated: {what}: {reason}: {advice}"
    if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
        advice = "correct `repo` and `revision`, or set HF_TOKEN if the repository is private"
        return f"not found on the Hub: {what}: {reason}: {advice}"
    if isinstance(error, offline):
        advice = f"run this rule once with network access, or set {VARIABLES[kind]}"
        return f"not in the cache, and no connection to the Hub: {what}: {reason}: {advice}"
    return f"error of the Hub: {what}: {reason}: run it again, and check HF_TOKEN if it persists"


def _redact(text: object) -> str:
    """First line of a message without the token, `user:password@` and queries of addresses.

    Addresses of stored files are signed, and a server may return the token that it was sent.
    """
    from huggingface_hub import get_token

    line = (str(text).strip().splitlines() or [type(text).__name__])[0]
    line = without_passwords(re.sub(r"\?[^\s'\")]*=[^\s'\"):]*", "", line))
    token = get_token()
    return line.replace(token, "***") if token else line


def _redact_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = _redact(record.getMessage()), None
    record.exc_info = None  # a traceback would show the address again
    return True
