"""Typed, strict reading of environment variables.

A wrong value never stops the import of the settings: it is remembered in `problems`, the default is used, and a
system check (`costtrack.checks`) reports every problem at once, each with a hint. Secrets may also be given as a
file: `NAME_FILE=/run/secrets/name`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dj_database_url

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Problem:
    """One environment variable that could not be used, and what would be right."""

    name: str
    message: str
    hint: str


@dataclass
class Environment:
    """Reads values from `values` and collects a `Problem` for each that is wrong."""

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

    def integer(self, name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
        raw = self.values.get(name)
        if raw is None:
            return default
        if raw.isdecimal() and int(raw) >= least and (most is None or int(raw) <= most):
            return int(raw)
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        self._wrong(name, f"{raw!r} is not a whole number {bounds}.", f"For example {default}.")
        return default

    def words(self, name: str, default: str = "") -> list[str]:
        """A comma separated list; blanks around the words are ignored."""
        return [word.strip() for word in self.values.get(name, default).split(",") if word.strip()]

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        raw = self.values.get(name, default)
        if raw in choices:
            return raw
        self._wrong(name, f"{raw!r} is not one of {', '.join(choices)}.", f"For example {default}.")
        return default

    def secret(self, name: str, default: str = "") -> str:
        """`NAME`, or the content of the file that `NAME_FILE` names (without the final newline)."""
        path = self.values.get(f"{name}_FILE")
        if path is None:
            return self.values.get(name, default)
        if name in self.values:
            self._wrong(name, f"{name} and {name}_FILE are both set.", "Set only one of them.")
            return self.values[name]
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            self._wrong(f"{name}_FILE", f"The file cannot be read: {error}.", "Check its path and its rights.")
            return default

    def required(self, name: str, default: str, hint: str, parse: Callable[[str], Parsed]) -> Parsed:
        """A secret that must be set, as what `parse` makes of it. The default stands in only to let the settings be
        read. The text itself is not shown: such URLs hold passwords."""
        text = self.secret(name)
        if not text:
            self._wrong(name, "It is not set.", hint)
            return parse(default)
        return self._parsed(name, text, default, hint, parse)

    def optional(self, name: str, default: str, hint: str, parse: Callable[[str], Parsed]) -> Parsed:
        """The same for one that need not be set."""
        return self._parsed(name, self.secret(name) or default, default, hint, parse)

    def _parsed(self, name: str, text: str, default: str, hint: str, parse: Callable[[str], Parsed]) -> Parsed:
        try:
            return parse(text)
        except ValueError as error:
            self._wrong(name, f"The value cannot be used: {error}", hint)
            return parse(default)

    def exit_if_wrong(self) -> None:
        """For the processes that serve: Django runs its checks for commands only."""
        if self.problems:
            raise SystemExit(
                "\n".join(f"{problem.name}: {problem.message} {problem.hint}" for problem in self.problems)
            )

    def _wrong(self, name: str, message: str, hint: str) -> None:
        self.problems.append(Problem(name, message, hint))


def parse_database_url(url: str) -> dict[str, Any]:
    """Django's settings for the PostgreSQL database that a URL names. Raises ValueError without showing the URL."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("it must begin with postgresql://.")
    return {**dj_database_url.parse(url), "ENGINE": "costtrack.database"}


def parse_redis_url(url: str) -> str:
    """The same URL. Raises ValueError without showing it."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("it must begin with redis://, rediss:// or unix://.")
    return url
