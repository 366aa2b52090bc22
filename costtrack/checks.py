"""System checks: each configuration error is one line with a hint instead of a traceback later."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import DEFAULT_DB_ALIAS, OperationalError

from costtrack.database.commands import CONFIGURATION
from costtrack.database.inspection import describe
from costtrack.database.repair import find_problems
from costtrack.database.upgrades import pending_unsafe_operations
from costtrack.settings import env


@register(CONFIGURATION)
def environment_is_valid(**_: Any) -> list[CheckMessage]:
    """costtrack.E001: an environment variable is missing or invalid."""
    return [
        Error(f"{problem.name}: {problem.message}", hint=problem.hint, id="costtrack.E001") for problem in env.problems
    ]


@register(CONFIGURATION)
def peppers_are_numbered(**_: Any) -> list[CheckMessage]:
    """costtrack.E002: the peppers are malformed."""
    from organizations.secrets import parse_peppers

    try:
        parse_peppers(settings.CREDENTIAL_PEPPERS)
    except ValueError as error:
        hint = "For example COSTTRACK_CREDENTIAL_PEPPERS=1:<random>,2:<random>; the last one is used for new secrets."
        return [Error(f"COSTTRACK_CREDENTIAL_PEPPERS: {error}", hint=hint, id="costtrack.E002")]
    return []


@register(deploy=True)
def https_is_on(**_: Any) -> list[CheckMessage]:
    """costtrack.W001: credentials are sent in headers, so they need TLS."""
    if settings.BEHIND_HTTPS:
        return []
    return [CheckWarning("COSTTRACK_HTTPS is false.", hint="Serve costtrack through HTTPS.", id="costtrack.W001")]


@register(Tags.database)
def database_is_as_migrated(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """costtrack.E003: the database does not respond. costtrack.E004: objects that migrations created are missing,
    usually because a dump was restored into a cluster without the tenant role.

    `migrate` runs this check first, and `check` does with `--database default`.
    """
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    try:
        problems = find_problems()
    except OperationalError as error:
        message = f"The database is unreachable: {str(error).strip()}"
        return [Error(message, hint="Check DATABASE_URL and the server.", id="costtrack.E003")]
    if not problems:
        return []
    return [Error(describe(problems), hint="See docs/restore.md.", id="costtrack.E004")]


@register(Tags.database)
def pending_migrations_are_safe(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """costtrack.W002: a migration that is not applied has operations that the previous release may not survive."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    try:
        unsafe = pending_unsafe_operations()
    except OperationalError:
        return []  # E003 reports it
    return [
        CheckWarning(
            f"The pending migration {app}.{name} is unsafe while the previous release serves ({rule}): {reason}",
            hint="See docs/operations.md, Upgrades.",
            id="costtrack.W002",
        )
        for (app, name), rules in sorted(unsafe.items())
        for rule, reason in rules.items()
    ]
