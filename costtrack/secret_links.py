"""Masking of secrets in logs: links that work like a password, query strings, API keys and tokens.

A route whose URL contains a secret is declared with `secret_path`. Logs then show the route up to its first parameter,
and a mask instead of the rest (`costtrack.logs`).
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
"""By the route's text before its first parameter: a pattern of it and the rest of the line."""


def secret_path(route: str, view: Callable[..., HttpResponseBase], *, name: str) -> URLPattern:
    """Declare a route whose URL contains a secret. Logs mask everything from the first parameter on."""
    prefix, parameter, _ = route.partition("<")
    if not parameter or "/" not in prefix.rstrip("/"):
        raise ValueError(
            f"{route}: it needs two segments before its first parameter, so that it can be recognized in text."
        )
    _secret_paths[prefix] = re.compile(f"({_SLASH.join(map(re.escape, prefix.split('/')))}).+", re.IGNORECASE)
    return path(route, view, name=name)


def has_secret(request_path: str) -> bool:
    return any(pattern.search(request_path) for pattern in _secret_paths.values())


def path_for_logs(request: HttpRequest) -> str:
    return mask_path(request.path, has_route=_has_route(request))


def mask_path(request_path: str, *, has_route: bool = True) -> str:
    """Return the path without its secret. A path without a route may be a mistyped link, so its long segments are
    masked too."""
    for pattern in _secret_paths.values():
        if match := pattern.search(request_path):
            return f"{request_path[: match.end(1)]}{MASK}"
    masked = mask(request_path)
    if has_route:
        return masked
    return "/".join(MASK if len(segment) > _MAX_UNKNOWN_SEGMENT else segment for segment in masked.split("/"))


def mask(text: str) -> str:
    """Mask the secrets of links, query strings, API keys and tokens in a text."""
    for pattern in _secret_paths.values():
        text = pattern.sub(rf"\1{MASK}", text)
    text = _QUERY.sub(f"?{MASK}", text)
    text = _API_KEY.sub(rf"\1.{MASK}", text)
    return _TOKEN.sub(MASK, text)


def mask_value(value: Any) -> Any:
    """Mask secrets in any value of a log line."""
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
    """Whether a view exists for this path. Django does not resolve it if a middleware has already responded."""
    if request.resolver_match is not None:
        return True
    try:
        resolve(request.path_info)
    except Resolver404:
        return False
    return True
