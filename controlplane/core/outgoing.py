"""Which addresses the master may call: none but those that its operator has named."""

from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

ANY = "*"
PORTS = {"http": 80, "https": 443}


def obstacle(url: str, allowed: Iterable[str]) -> str | None:
    """Return why an address may not be called, or None when it may.

    It may when it begins like one of the `allowed` ones: the same scheme, host and port, and a path at or below theirs.
    """
    asked = _split(url)
    if asked is None:
        return "it is no address of a web server"
    if asked.username is not None or asked.password is not None:
        return "it has a password in it, which would be shown to who may read policies"
    for each in allowed:
        if each == ANY or _is_below(asked, _split(each)):
            return None
    return "the master's setting outgoing does not name it"


def _is_below(asked: SplitResult, prefix: SplitResult | None) -> bool:
    if prefix is None or _place(asked) != _place(prefix):
        return False
    path, base = asked.path or "/", prefix.path or "/"
    if ".." in path.split("/"):
        return False
    return path == base or path.startswith(base if base.endswith("/") else base + "/")


def _place(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or PORTS[url.scheme]


def _split(url: str) -> SplitResult | None:
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        return None
    if found.scheme not in PORTS or not found.hostname or port == 0 or "\\" in url or "%2e" in url.lower():
        return None
    return found
