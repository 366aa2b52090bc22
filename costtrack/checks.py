"""System checks: a wrong configuration is one clear line with a hint, not a traceback later."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning

from costtrack.settings import env


@register()
def environment_is_valid(**_: Any) -> list[CheckMessage]:
    """costtrack.E001: an environment variable is missing, or has a value that cannot be used."""
    return [
        Error(f"{problem.name}: {problem.message}", hint=problem.hint, id="costtrack.E001") for problem in env.problems
    ]


@register()
def peppers_are_numbered(**_: Any) -> list[CheckMessage]:
    """costtrack.E002."""
    from organizations.secrets import parse_peppers

    try:
        parse_peppers(settings.CREDENTIAL_PEPPERS)
    except ValueError as error:
        hint = "For example COSTTRACK_CREDENTIAL_PEPPERS=1:<random>,2:<random>; the last one is used for new secrets."
        return [Error(f"COSTTRACK_CREDENTIAL_PEPPERS: {error}", hint=hint, id="costtrack.E002")]
    return []


@register(deploy=True)
def https_is_on(**_: Any) -> list[CheckMessage]:
    """costtrack.W001: credentials travel in headers."""
    if settings.BEHIND_HTTPS:
        return []
    return [CheckWarning("COSTTRACK_HTTPS is false.", hint="Serve costtrack through HTTPS.", id="costtrack.W001")]
