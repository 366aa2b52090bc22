"""How the billing pages write things: small pieces of HTML, all of them escaped."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from organizations.models import APICredential

NOTHING = "-"

Fact = tuple[str, SafeString | str]
"""A label and what stands beside it."""


def instant(value: datetime | None) -> str:
    """To the second, in UTC: `2026-11-02 09:00:07`."""
    return NOTHING if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def count(number: int) -> str:
    return f"{number:,}"


def count_or_nothing(number: int) -> str:
    return count(number) if number else NOTHING


def badge(text: str, kind: str = "", title: str = "") -> SafeString:
    """`kind` is success, warning, danger, info, primary, or empty for a plain one."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": kind, "label_title": title})


def two_lines(first: str, second: str) -> SafeString:
    return format_html('<span class="ct-two-lines"><span>{}</span><small>{}</small></span>', first, second)


def link(url: str, text: object) -> SafeString:
    return format_html('<a class="ct-link" href="{}">{}</a>', url, text)


def code(text: object) -> SafeString:
    """An id: one that is too long for its place is cut by the browser and whole in its tooltip."""
    return format_html('<code class="ct-id" title="{0}">{0}</code>', text)


def short_id(value: UUID) -> SafeString:
    """The telling end of a UUID of version 7 (its beginning is the time), the whole in the tooltip."""
    return format_html('<code title="{}">…{}</code>', value, str(value)[-12:])


def sender(credential_id: int | None, credential: APICredential | None) -> str:
    """Who sent something. Members cannot read the credential of an operator."""
    if credential is not None:
        return credential.name
    return "costtrack itself" if credential_id is None else "an operator"


def page(model: str, *, id: object) -> str:  # noqa: A002 - the word of the models
    """The address of one row's page, for example of `billing_ingestbatch`."""
    return reverse(f"admin:{model}_change", args=[id])


def ledger(organization_id: int, **filters: str) -> str:
    """The address of the ledger's list, narrowed."""
    query = urlencode({"organization": str(organization_id), **filters})
    return f"{reverse('admin:billing_usageevent_changelist')}?{query}"


def present(facts: Iterable[tuple[str, Any]]) -> list[Fact]:
    """Without those that say nothing."""
    return [(label, value) for label, value in facts if value not in ("", None, 0, [])]
