"""What else follows from an organization's plan.

Apps that know organizations, while organizations do not know them, register what they keep by plan
(`billing.limits.plans`). It runs in the transaction that gives an organization its plan.
"""

from datetime import datetime
from typing import Protocol

from organizations.models import Organization, Plan


class PlanHook(Protocol):
    def __call__(self, *, organization: Organization, before: Plan | None, now: datetime, actor: str) -> None:
        """The organization's plan is another one than `before` now, or says something else than that row said; None:
        the organization is new."""


_rules: list[PlanHook] = []


def register(rule: PlanHook) -> None:
    if rule not in _rules:
        _rules.append(rule)


def apply_plan_change(*, organization: Organization, before: Plan | None, now: datetime, actor: str) -> None:
    """Have everything that depends on the plan follow it."""
    for rule in _rules:
        rule(organization=organization, before=before, now=now, actor=actor)
