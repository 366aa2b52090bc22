"""`manage.py doctor`: examines the settings, the servers and what runs on them, in one line each."""

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import django
from django.core import checks
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from costtrack import __version__, heartbeat
from costtrack.clock import utc_now
from costtrack.findings import Finding, Result, count_failed
from costtrack.health import registry
from costtrack.health.registry import Check
from organizations.isolation import IsolationTrial, try_isolation
from organizations.models import APICredential
from organizations.secrets import is_pepper_known, newest_pepper

_MAX_CLOCK_SECONDS = 1.0


class Command(BaseCommand):
    help = (
        "Examine settings, versions, clocks, the isolation of organizations and every health check. One line each;"
        " exit code 1 if one of them fails."
    )
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        findings = []
        for finding in examine_installation():
            self.stdout.write(str(finding))
            findings.append(finding)
        if failed := count_failed(findings):
            raise CommandError(f"{failed} of {len(findings)} lines are failures.")


def examine_installation() -> Iterator[Finding]:
    yield from _settings()
    yield Finding(
        Result.OK,
        "versions",
        f"costtrack {__version__}, Python {platform.python_version()}, Django {django.get_version()}",
    )
    needed, others = registry.checks_if_reachable()
    is_reachable = {check.name: check.ok for check in needed}
    if is_reachable["database"]:
        yield _clock("PostgreSQL", _database_time)
    if is_reachable["redis"]:
        yield _clock("Redis", _redis_time)
    if is_reachable["database"] and is_reachable["migrations"]:
        yield _isolation(try_isolation())
        yield _peppers()
    yield from map(_of_check, [*needed, *others])
    if is_reachable["database"] and is_reachable["migrations"]:
        yield from map(_of_check, registry.thorough_checks())


def _settings() -> list[Finding]:
    messages = [message for message in checks.run_checks(include_deployment_checks=True) if not message.is_silenced()]
    if not messages:
        return [Finding(Result.OK, "settings", "valid")]
    return [
        Finding(
            Result.FAILED if message.level >= checks.ERROR else Result.WARNING,
            "settings",
            f"{message.msg} {message.hint or ''} ({message.id})",
        )
        for message in messages
    ]


def _clock(server: str, read_time: Callable[[], datetime]) -> Finding:
    started = time.monotonic()
    before = utc_now()
    ahead = (read_time() - before).total_seconds()
    # The answer was given at some time during the question.
    patience = _MAX_CLOCK_SECONDS + time.monotonic() - started
    text = f"{server} is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
    if abs(ahead) <= patience:
        return Finding(Result.OK, "clock", text)
    return Finding(Result.FAILED, "clock", f"{text}; synchronize the clocks, because limits and expiry depend on them")


def _database_time() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _redis_time() -> datetime:
    seconds, microseconds = heartbeat.client().time()
    return datetime.fromtimestamp(seconds + microseconds / 1e6, tz=utc_now().tzinfo)


def _isolation(trial: IsolationTrial | None) -> Finding:
    subject = "isolation"
    if trial is None:
        return Finding(Result.OK, subject, "there are no organizations yet")
    if trial.is_bypassed:
        return Finding(Result.FAILED, subject, "the tenants' role bypasses row-level security; run repair_roles")
    if trial.visible:
        tables = ", ".join(trial.visible)
        return Finding(Result.FAILED, subject, f"organizations see rows of others in {tables}; run repair_roles")
    return Finding(Result.OK, subject, f"{len(trial.tables)} tables with rows show none of them to others")


def _peppers() -> Finding:
    """API keys whose pepper is not the newest have to be rotated before their pepper is removed."""
    keys = Counter(APICredential.objects.filter(revoked_at=None).values_list("secret_pepper", flat=True))
    if unknown := sorted(number for number in keys if not is_pepper_known(number)):
        text = f"{sum(keys[number] for number in unknown)} API keys do not work: their peppers {unknown} are missing"
        return Finding(Result.FAILED, "peppers", f"{text} in COSTTRACK_CREDENTIAL_PEPPERS")
    older = {number: count for number, count in sorted(keys.items()) if number != newest_pepper()}
    if older:
        listed = ", ".join(f"{count} of pepper {number}" for number, count in older.items())
        text = f"API keys with an older pepper: {listed}; rotate them before you remove it"
        return Finding(Result.WARNING, "peppers", text)
    return Finding(Result.OK, "peppers", f"all {keys.total()} API keys use the newest pepper")


def _of_check(check: Check) -> Finding:
    result = Result.FAILED if not check.ok else Result.WARNING if check.advice else Result.OK
    details = ", ".join(f"{heading} {text}" for heading, text in check.details.items())
    text = f"{check.title}: {check.state}" + (f" ({details})" if details else "")
    return Finding(result, check.name, f"{text}. {check.advice}" if check.advice else text)
