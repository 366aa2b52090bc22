"""Response bodies of document 001. Costs are exact decimal strings; periods have the offset of the time zone of the
organization.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rest_framework import serializers

from billing.api.usage.events import AmountField
from billing.reports.usage.figures import Figures, Spend
from billing.reports.usage.query import UsageQuery
from costtrack.calendar import Calendar, Span
from costtrack.clock import iso
from costtrack.money import plain

Json = dict[str, Any]


class WindowSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField(help_text="Exclusive.")


class FiguresSerializer(serializers.Serializer[Any]):
    requests = serializers.IntegerField(help_text="Calls, including failed ones.")
    errors = serializers.IntegerField(help_text="Failed calls.")  # type: ignore[assignment] # DRF's
    error_rate = serializers.FloatField(help_text="errors / requests, from 0 to 1.")
    prompt_tokens = serializers.IntegerField(help_text="All prompt tokens, including cached ones.")
    completion_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField(help_text="Prompt tokens that were read from a cache.")
    total_tokens = serializers.IntegerField(help_text="prompt_tokens + completion_tokens")
    cost_usd = AmountField(help_text="Tokens and compute, including adjustments.")
    unpriced_events = serializers.IntegerField(help_text="Events whose cost is unknown and excluded.")


class SpendSerializer(serializers.Serializer[Any]):
    """Current spend, regardless of the range."""

    today_usd = AmountField()
    rolling_7d_usd = AmountField(help_text="Since the same time seven days ago (exclusive).")
    month_to_date_usd = AmountField()
    billing_period = WindowSerializer(help_text="The current month.")


class AnswerSerializer(serializers.Serializer[Any]):
    """Fields that every response has."""

    organization = serializers.CharField()
    plan = serializers.CharField()
    currency = serializers.CharField(help_text="USD")
    timezone = serializers.CharField()
    window = WindowSerializer()
    history_start = serializers.DateTimeField(
        allow_null=True, help_text="Start of the history that the plan shows; null if unlimited."
    )
    clipped = serializers.BooleanField(help_text="The window was cut off at `history_start`.")
    as_of = serializers.DateTimeField(help_text="The figures include everything acknowledged before.")


def common_fields(query: UsageQuery) -> Json:
    local = local_time(query)
    since = query.visible.history_start
    return {
        "organization": query.organization.slug,
        "plan": query.organization.plan_id,
        "currency": "USD",
        "timezone": query.organization.time_zone,
        "window": period(local, query.window),
        "history_start": local(since) if since is not None else None,
        "clipped": query.visible.is_clipped,
        "as_of": iso(query.now),
    }


def local_time(query: UsageQuery) -> Callable[[datetime], str]:
    """Return a formatter for instants: ISO 8601 with the offset of the time zone of the organization."""
    return local_formatter(query.calendar)


def local_formatter(calendar: Calendar) -> Callable[[datetime], str]:
    zone = calendar.zone
    return lambda instant: instant.astimezone(zone).isoformat()


def period(local: Callable[[datetime], str], window: Span) -> Json:
    return {"start": local(window.start), "end": local(window.end)}


def spend_body(local: Callable[[datetime], str], spend: Spend) -> Json:
    return {
        "today_usd": plain(spend.today_usd),
        "rolling_7d_usd": plain(spend.rolling_7d_usd),
        "month_to_date_usd": plain(spend.month_to_date_usd),
        "billing_period": period(local, spend.billing_period),
    }


def request_figures(figures: Figures) -> Json:
    return {"requests": figures.requests, "errors": figures.errors, "error_rate": figures.error_rate}


def token_figures(figures: Figures) -> Json:
    return {
        "prompt_tokens": figures.prompt_tokens,
        "completion_tokens": figures.completion_tokens,
        "cached_tokens": figures.cached_tokens,
        "total_tokens": figures.total_tokens,
    }


def cost_figures(figures: Figures) -> Json:
    return {"cost_usd": plain(figures.cost_usd), "unpriced_events": figures.unpriced_events}


def figures_body(figures: Figures) -> Json:
    return {**request_figures(figures), **token_figures(figures), **cost_figures(figures)}
