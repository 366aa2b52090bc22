"""Links that work like a password, and how logs show them.

A route whose address carries a secret is declared with `secret_path`. Logs then show the route up to its first
parameter, and a mask instead of the rest. Query strings, API keys and tokens are masked wherever a log line mentions
them (`costtrack.logs`).
"""

import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, URLPattern, path, resolve

MASK = "***"
_MAX_UNKNOWN_SEGMENT = 24

# A URL inside of another URL, as in `?next=`, has its slashes encoded.
_SLASH = "(?:/|%2F)"
_QUERY = re.compile(r"(?<=[\w/.%~*-])\?(?=[\w%])[^\s\"<>]+")
_API_KEY = re.compile(r"\b(ct_[0-9a-f]{20})\.[A-Za-z0-9_-]+")
_TOKEN = re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

_secret_paths: dict[str, re.Pattern[str]] = {}
"""By the route's text before its first parameter: what matches it and the rest of the line."""


def secret_path(route: str, view: Callable[..., HttpResponseBase], *, name: str) -> URLPattern:
    """`django.urls.path` for an address that carries a secret. Everything from the first parameter on is masked."""
    prefix, parameter, _ = route.partition("<")
    if not parameter or "/" not in prefix.rstrip("/"):
        raise ValueError(f"{route}: it needs two segments before its first parameter, to be recognized in text.")
    _secret_paths[prefix] = re.compile(f"({_SLASH.join(map(re.escape, prefix.split('/')))}).+", re.IGNORECASE)
    return path(route, view, name=name)


def has_secret(request_path: str) -> bool:
    return any(pattern.search(request_path) for pattern in _secret_paths.values())


def path_for_logs(request: HttpRequest) -> str:
    return mask_path(request.path, has_route=_has_route(request))


def mask_path(request_path: str, *, has_route: bool = True) -> str:
    """The path without its secret. One without a route may be a link that was copied wrongly, so its long segments
    are masked too."""
    for pattern in _secret_paths.values():
        if match := pattern.search(request_path):
            return f"{request_path[: match.end(1)]}{MASK}"
    masked = mask(request_path)
    if has_route:
        return masked
    return "/".join(MASK if len(segment) > _MAX_UNKNOWN_SEGMENT else segment for segment in masked.split("/"))


def mask(text: str) -> str:
    """The text without the secrets of links, the query strings, the API keys and the tokens in it."""
    for pattern in _secret_paths.values():
        text = pattern.sub(rf"\1{MASK}", text)
    text = _QUERY.sub(f"?{MASK}", text)
    text = _API_KEY.sub(rf"\1.{MASK}", text)
    return _TOKEN.sub(MASK, text)


def mask_value(value: Any) -> Any:
    """The same for everything that a log line can carry."""
    match value:
        case str():
            return mask(value)
        case None | bool() | int() | float():
            return value
        case dict():
            return {mask(str(name)): mask_value(inner) for name, inner in value.items()}
        case list() | tuple():
            return [mask_value(inner) for inner in value]
        case _:
            return mask(repr(value))


def _has_route(request: HttpRequest) -> bool:
    """Whether a view answers this path. Django does not look for one where a middleware has answered."""
    if request.resolver_match is not None:
        return True
    try:
        resolve(request.path_info)
    except Resolver404:
        return False
    return True
