"""What the hub refuses or breaks off, said in one line; what passes by itself, tried again.

huggingface_hub waits and tries again by itself on most requests, and goes on inside a file where a
connection ended early; `patiently` is for what it leaves: the first question about a repository,
a server error while a file is sent, a connection that was reset.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from scripts.first.errors import UserError, without_passwords
from scripts.first.hub.mirror import DATA_MIRROR, MODEL_MIRROR

WAITS = (1, 2, 4, 8)  # seconds before another try
LONGEST = 300  # seconds; the hub counts requests in windows of five minutes
PASSING = (408, 429, 500, 502, 503, 504)
SITE = "https://huggingface.co"

T = TypeVar("T")


def page(kind: str, repo: str) -> str:
    """A repository's page; kind is `model` or `dataset`."""
    return f"{SITE}/{repo}" if kind == "model" else f"{SITE}/{kind}s/{repo}"


def plain(text: object) -> str:
    """The first line of a message, without the token and without what is secret in addresses.

    That is what follows a `?` (addresses of stored files are signed) and what stands before an `@`.
    A server may send back what it was sent.
    """
    from huggingface_hub import get_token

    line = (str(text).strip().splitlines() or [""])[0]
    line = re.sub(r"\?[^\s'\")]*=[^\s'\"):]*", "", line)
    line, token = without_passwords(line), get_token()
    return line.replace(token, "***") if token else line


class _Plain(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = plain(record.getMessage()), None
        return True


def calm_logging() -> None:
    """Keep credentials out of what the library logs, and progress bars out of log files."""
    from huggingface_hub.utils import disable_progress_bars
    from huggingface_hub.utils.logging import get_logger  # its import sets the handler up

    for handler in get_logger().handlers:
        handler.addFilter(_Plain())
    if not sys.stderr.isatty():
        disable_progress_bars()


def patiently(action: Callable[[], T]) -> T:
    """Return action(); where it fails for a reason that passes, try again.

    Waits as long as the hub asks for (at most LONGEST seconds), and WAITS at least.
    """
    for wait in WAITS:
        try:
            return action()
        except Exception as error:  # transport and status errors share no base of their own
            if not _passes(cause(error)):
                raise
            wait = min(max(wait, _asked_to_wait(cause(error))), LONGEST)
            print(f"{_reason(cause(error))}: trying again in {wait} s", file=sys.stderr, flush=True)
            time.sleep(wait)
    return action()


def _asked_to_wait(error: BaseException) -> int:
    """Seconds until the hub takes requests again, by its headers; 0 where it does not say."""
    from huggingface_hub.utils import parse_ratelimit_headers

    response = getattr(error, "response", None)
    headers = {} if response is None else response.headers
    limit, after = parse_ratelimit_headers(headers), headers.get("Retry-After", "")
    if limit and limit.remaining == 0:
        return limit.reset_in_seconds + 1
    return int(after) + 1 if after.isdigit() else 0


def cause(error: BaseException) -> BaseException:
    """The error inside the library's general ones, which say only that nothing was found."""
    import httpx2

    while error.__cause__ is not None and not isinstance(error, httpx2.HTTPError):
        error = error.__cause__
    return error


def _passes(error: BaseException) -> bool:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    # No server at all does not pass in seconds; huggingface_hub has tried that several times.
    transport = isinstance(error, httpx2.TransportError)
    return (transport and not isinstance(error, httpx2.ConnectError)) or _wrong_size(error)


def _wrong_size(error: BaseException) -> bool:
    return isinstance(error, OSError) and str(error).startswith("Consistency check failed")


def _reason(error: BaseException) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return f"the hub answers {error.response.status_code}"
    return f"{type(error).__name__}: {plain(error)}".removesuffix(": ")


def explain(error: Exception, kind: str, repo: str, revision: str) -> UserError | None:
    """The user's line for an error of the hub; None for an error that is none of the hub's.

    kind: `model` or `dataset`. Every line names what was asked for and what to do.
    """
    import httpx2
    from huggingface_hub import errors

    inner, what = cause(error), f"{kind} {repo} at {revision}"
    variable = MODEL_MIRROR if kind == "model" else DATA_MIRROR
    if isinstance(inner, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError):
        return UserError(
            f"offline and not in the hub cache: {what}: run this rule once where there is network, "
            f"without HF_HUB_OFFLINE, or name a mirror in {variable}"
        )
    if isinstance(inner, errors.HfHubHTTPError):
        return UserError(_refused(inner, kind, repo, revision))
    if isinstance(inner, httpx2.ConnectError | httpx2.TimeoutException | httpx2.ProxyError):
        return UserError(
            f"cannot reach the hub: {what}: {_reason(inner)}: run this rule where there is "
            f"network, or name a mirror in {variable}"
        )
    if isinstance(inner, httpx2.HTTPError):
        return UserError(
            f"the connection to the hub broke: {what}: {_reason(inner)}: run it again, files that "
            "are complete are kept"
        )
    if isinstance(inner, errors.HFValidationError):
        return UserError(f"not a hub id: {kind} {repo}: {plain(inner)}: write OWNER/NAME")
    if isinstance(inner, OSError) and inner.errno is None:
        return UserError(f"the hub's answer is not usable: {what}: {plain(inner)}: run it again")
    return None


def _refused(error, kind: str, repo: str, revision: str) -> str:
    from huggingface_hub import errors, get_token

    status, token = error.response.status_code, get_token()
    what, where = f"{kind} {repo} at {revision}", page(kind, repo)
    if isinstance(error, errors.GatedRepoError):
        step = (
            "HF_TOKEN is set, but its account has no access yet"
            if token
            else "then set HF_TOKEN to a read token of that account"
        )
        return f"gated {kind} {repo} ({status}): accept its licence on its page {where}: {step}"
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"no such commit on the hub ({status}): {what}: take one from {where}/commits/main "
            "and correct `revision` in the configuration"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"no such {kind} on the hub, or a private one ({status}): {repo}: correct `repo` in "
            f"the configuration, or set HF_TOKEN to a token that may read {where}"
        )
    if status == 401:
        return (
            f"the hub does not accept the token (401): {what}: set HF_TOKEN to a valid read token "
            f"from {SITE}/settings/tokens"
        )
    if status == 403:
        return (
            f"the hub forbids it (403): {what}: see {where}, and give HF_TOKEN a token that may "
            "read it (a fine-grained one needs access to public gated repositories)"
        )
    if status == 429:
        return (
            f"the hub limits the rate of requests (429): {what}: run it again later; requests "
            "with HF_TOKEN have a higher limit"
        )
    if status in PASSING:
        return f"the hub has trouble ({status}): {what}: run it again later"
    return f"the hub refused ({status}): {what}: see {where}"
