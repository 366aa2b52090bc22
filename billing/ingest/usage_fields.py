"""Usage events out of objects with loosely named fields: the data of CloudEvents and the properties of Lago's events.

The fields are those of `UsageEventInput`, with `provider` for `service`; numbers may be texts. If an object has counts
under a provider's names, all its counts are read as that provider's usage. Other fields are dropped: they may be
prompts or answers. Pure.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from billing.ingest.types import UsageEventInput
from billing.ingest.usage.paths import named_path, normalized_key
from billing.ingest.usage.raw import raw_object
from billing.ingest.usage.spellings import meaning
from billing.pricing.kinds import TOKEN_COUNTS

# Other names of an event's fields.
_ALIASES = {
    "provider": "service",
    "user": "user_id",
    "response_id": "request_id",
    "project": "cost_group",
    "timestamp": "occurred_at",
}
_FIELDS = frozenset(UsageEventInput.__struct_fields__)
# The envelope says these.
_ENVELOPE_FIELDS = frozenset({"id", "source"})
_COUNTS = frozenset((*TOKEN_COUNTS, "tool_use_tokens", "tool_result_tokens", "turns", "tool_calls"))
# Costs that a gateway estimates.
GATEWAY_COSTS = ("cost", "response_cost")
# One number with its kind, as OpenMeter's examples have it.
_BY_TYPE = {"input": "input_tokens", "prompt": "input_tokens", "output": "output_tokens", "completion": "output_tokens"}
_MAX_FIELDS = 500


def event_fields(data: Mapping[Any, Any]) -> tuple[dict[str, Any], Decimal | None]:
    """Return the fields of an event, and a gateway's cost estimate."""
    given = {str(name): value for name, value in list(data.items())[:_MAX_FIELDS] if value is not None}
    fields: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    for name, value in given.items():
        field = _ALIASES.get(name, name)
        if field in _ENVELOPE_FIELDS:
            continue
        if field in _FIELDS:
            fields[field] = value
        elif name not in GATEWAY_COSTS and _is_usage(name):
            usage[name] = _number(value)
    kind = _BY_TYPE.get(str(given.get("type", "")).lower())
    if kind is not None and "tokens" in given and kind not in fields:
        fields[kind] = given["tokens"]
        usage.pop("tokens", None)
    if usage and "usage" not in fields and "quantities" not in fields:
        # The counts under our own names belong to the same object.
        usage |= {name: _number(fields.pop(name)) for name in TOKEN_COUNTS if name in fields}
        fields["usage"] = raw_object(usage)[0]
    costs = (_cost(given[name]) for name in GATEWAY_COSTS if name in given)
    return fields, next((cost for cost in costs if cost is not None), None)


def convert(fields: Mapping[str, Any]) -> UsageEventInput:
    """Return the event. Raises msgspec.ValidationError."""
    return msgspec.convert(dict(fields), UsageEventInput, strict=False)


def _is_usage(name: str) -> bool:
    return meaning(named_path(normalized_key(name))).role == "field" or name.endswith("_details")


def _number(value: Any) -> Any:
    """Return a number that is written as text."""
    if not isinstance(value, str):
        return value
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value
    if not number.is_finite():
        return value
    return int(number) if number == int(number) else number


def _cost(value: Any) -> Decimal | None:
    """Return a cost; None for 0, which only means that no price is known."""
    try:
        cost = Decimal(str(value)) if not isinstance(value, bool) else Decimal(0)
    except InvalidOperation:
        return None
    return cost if cost.is_finite() and cost > 0 else None
