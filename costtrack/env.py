"""Typed, strict parsing of environment variables.

An invalid value does not break the import of the settings: it is added to `problems`, the default is used, and a system
check (`costtrack.checks`) reports all problems at once, each with a hint. Secrets may also be given as a file:
`NAME_FILE=/run/secrets/name`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dj_database_url

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}
MIN_TOKEN_LENGTH = 16

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Problem:
    """An invalid environment variable, with a hint for the user."""

    name: str
    message: str
    hint: str


@dataclass
class Environment:
    """Parses `values` and collects a `Problem` for each invalid one."""

    values: Mapping[str, str] = field(default_factory=lambda: os.environ)
    problems: list[Problem] = field(default_factory=list)

    def text(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)

    def boolean(self, name: str, *, default: bool) -> bool:
        raw = self.values.get(name)
        if raw is None:
            return default
        if raw.lower() in _TRUE:
            return True
        if raw.lower() in _FALSE:
            return False
        self._wrong(name, f"{raw!r} is not a boolean.", "Use true or false.")
        return default

    def integer(self, name: str, default: int, *, minimum: int = 0, maximum: int | None = None) -> int:
        raw = self.values.get(name)
        if raw is None:
            return default
        if raw.isdecimal() and int(raw) >= minimum and (maximum is None or int(raw) <= maximum):
            return int(raw)
        bounds = f"of {minimum} or more" if maximum is None else f"from {minimum} to {maximum}"
        self._wrong(name, f"{raw!r} is not a whole number {bounds}.", f"For example {default}.")
        return default

    def comma_separated(self, name: str, default: str = "") -> list[str]:
        """Parse a comma-separated list; spaces around items are ignored."""
        return [item.strip() for item in self.values.get(name, default).split(",") if item.strip()]

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        raw = self.values.get(name, default)
        if raw in choices:
            return raw
        self._wrong(name, f"{raw!r} is not one of {', '.join(choices)}.", f"For example {default}.")
        return default

    def secret(self, name: str, default: str = "") -> str:
        """Return `NAME`, or the content of the file `NAME_FILE` without its final newline."""
        path = self.values.get(f"{name}_FILE")
        if path is None:
            return self.values.get(name, default)
        if name in self.values:
            self._wrong(name, f"{name} and {name}_FILE are both set.", "Set only one of them.")
            return self.values[name]
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            self._wrong(f"{name}_FILE", f"The file cannot be read: {error}.", "Check its path and permissions.")
            return default

    def folder(self, name: str) -> Path | None:
        """Return an optional folder, and create it if it is missing."""
        raw = self.values.get(name)
        if not raw:
            return None
        path = Path(raw)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            self._wrong(name, f"The folder cannot be created: {error}.", "Check its path and permissions.")
            return None
        if not os.access(path, os.W_OK | os.X_OK):
            self._wrong(name, f"This user may not write to {path}.", "Check its permissions.")
            return None
        return path

    def required(self, name: str, default: str, hint: str, parse: Callable[[str], Parsed]) -> Parsed:
        """Parse a secret that must be set. The default only lets the settings load. Messages never contain the value,
        which may include a password."""
        text = self.secret(name)
        if not text:
            self._wrong(name, "It is not set.", hint)
            return parse(default)
        return self._parsed(name, text, default, hint, parse)

    def optional(self, name: str, default: str, hint: str, parse: Callable[[str], Parsed]) -> Parsed:
        """Like `required`, for an optional secret."""
        return self._parsed(name, self.secret(name) or default, default, hint, parse)

    def _parsed(self, name: str, text: str, default: str, hint: str, parse: Callable[[str], Parsed]) -> Parsed:
        try:
            return parse(text)
        except ValueError as error:
            self._wrong(name, f"The value is invalid: {error}", hint)
            return parse(default)

    def exit_if_wrong(self) -> None:
        """Exit if there are problems. For server processes: Django runs its checks for commands only."""
        if self.problems:
            raise SystemExit(
                "\n".join(f"{problem.name}: {problem.message} {problem.hint}" for problem in self.problems)
            )

    def _wrong(self, name: str, message: str, hint: str) -> None:
        self.problems.append(Problem(name, message, hint))


def parse_database_url(url: str) -> dict[str, Any]:
    """Return Django's settings for a PostgreSQL URL. Raises ValueError, whose message does not contain the URL."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("it must start with postgresql://.")
    return {**dj_database_url.parse(url), "ENGINE": "costtrack.database"}


def parse_optional_database_url(url: str) -> dict[str, Any] | None:
    """Like `parse_database_url`; None for an empty text."""
    return parse_database_url(url) if url else None


def parse_token(text: str) -> str:
    """Return a token unchanged if it is long enough. Raises ValueError, whose message does not contain it."""
    if text and len(text) < MIN_TOKEN_LENGTH:
        raise ValueError(f"it is shorter than {MIN_TOKEN_LENGTH} characters.")
    return text


def parse_redis_url(url: str) -> str:
    """Return the URL unchanged if its scheme is valid. Raises ValueError, whose message does not contain it."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("it must start with redis://, rediss:// or unix://.")
    return url
