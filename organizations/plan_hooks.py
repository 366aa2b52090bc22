"""Hooks that run when an organization gets another plan, in the same transaction.

Apps that depend on organizations register hooks to keep their data consistent with the plan (`billing.limits.plans`).
"""

from datetime import datetime
from typing import Protocol

from organizations.models import Organization, Plan


class PlanHook(Protocol):
    def __call__(self, *, organization: Organization, before: Plan | None, now: datetime, actor: str) -> None:
        """Called after the plan or its row has changed from `before`; None means that the organization is new."""


_hooks: list[PlanHook] = []


def register(hook: PlanHook) -> None:
    if hook not in _hooks:
        _hooks.append(hook)


def apply_plan_change(*, organization: Organization, before: Plan | None, now: datetime, actor: str) -> None:
    """Run all hooks for an organization whose plan has changed."""
    for hook in _hooks:
        hook(organization=organization, before=before, now=now, actor=actor)
