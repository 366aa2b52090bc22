"""What the tested organization has, so that made-up requests often hit something."""

import zlib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import schemathesis
from django.db.models import QuerySet
from schemathesis.core.parameters import ParameterLocation

from billing.models import IncreaseRequest, Repricing, SpendLimit, UsageEvent
from tests.conftest import Key
from tests.example_requests import Examples

_COLUMNS = (
    *("model", "service", "capability", "tool", "source"),
    *("run_id", "workflow_id", "session_id", "execution_id", "phase_id", "group_id", "agent_id"),
)
_OFTEN, _SOMETIMES = 9, 1


@dataclass(frozen=True)
class KnownValues:
    """Values that exist, by the names of the parameters and fields that take them."""

    examples: Examples
    values: Mapping[str, list[Any]]

    @classmethod
    def of(cls, examples: Examples) -> "KnownValues":
        organization = examples.organization
        events = UsageEvent.objects.of(organization)
        used = {name: _values(events.exclude(**{name: ""}), name) for name in _COLUMNS}
        # Not the credential that asks: it may be revoked.
        credentials = organization.credentials.exclude(pk=examples.key.credential.pk)
        return cls(
            examples,
            {
                **used,
                "organization": [organization.slug],
                "slug": [organization.slug],
                "client_id": _values(credentials, "client_id"),
                "event_id": [str(pk) for pk in events.order_by("event_id").values_list("pk", flat=True)],
                "plan": [organization.plan.code],
                "email": _values(organization.memberships, "user__email"),
            },
        )

    def key_for(self, case: schemathesis.Case[Any]) -> Key:
        is_for_operators = case.operation.path == "/organizations"
        return self.examples.operator_key if is_for_operators else self.examples.key

    def fill_in(self, case: schemathesis.Case[Any]) -> None:
        """Into those parts of a request that are not made up to be wrong: most ids in its path, and some of its
        parameters and fields."""
        values = {**self.values, **self._values_of(case.operation.path)}
        for location, given, how_often in (
            (ParameterLocation.PATH, case.path_parameters, _OFTEN),
            (ParameterLocation.QUERY, case.query, _SOMETIMES),
            (ParameterLocation.BODY, case.body, _SOMETIMES),
        ):
            if isinstance(given, MutableMapping) and not (case.meta and case.meta.is_negative_at(location)):
                for name in given.keys() & values.keys():
                    _replace(given, name, values[name], how_often)

    def _values_of(self, path: str) -> dict[str, list[Any]]:
        """Where a name means something else than elsewhere."""
        organization, key = self.examples.organization, self.examples.key
        if path.startswith("/oauth2/"):
            return {"client_id": [key.credential.client_id], "client_secret": [key.client_secret]}
        if path.startswith("/spend/"):
            return {"model": [f"openai/{model}" for model in self.values["model"]]}
        if path.endswith("/prices"):  # at least one price is needed, and no end before the start
            return {"input_usd_per_million": ["2.50"], "output_usd_per_million": ["10"], "effective_to": [None]}
        rows: dict[str, QuerySet[Any]] = {
            "members": organization.memberships.all(),
            "prices": organization.prices.all(),
            "reprice": Repricing.objects.of(organization),
            "limits": SpendLimit.objects.of(organization),
            "limit-requests": IncreaseRequest.objects.of(organization),
        }
        word = path.partition("/{id}")[0].rpartition("/")[2]
        return {"id": _values(rows[word], "pk")} if word in rows else {}


def _values(rows: QuerySet[Any] | Any, name: str) -> list[Any]:
    return list(rows.order_by(name).values_list(name, flat=True).distinct())


def _replace(given: MutableMapping[str, Any], name: str, values: list[Any], how_often: int) -> None:
    """Which one, and whether at all, depends on what was made up, so that the next run does the same."""
    number = zlib.crc32(f"{name}={given[name]}".encode(errors="replace"))
    if values and number % (how_often + 1):
        given[name] = values[number % len(values)]
