"""Hooks that run in the transaction of a change of an organization.

Apps that depend on organizations register functions to keep their data consistent (`billing.apps`).
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from organizations.models import Membership, Organization, Plan

H = TypeVar("H")


class PlanHook(Protocol):
    def __call__(self, *, organization: Organization, before: Plan | None, now: datetime, actor: str) -> None:
        """Called after the plan or its row has changed from `before`; None means that the organization is new."""


class MembershipHook(Protocol):
    def __call__(self, *, membership: Membership, now: datetime) -> None:
        """Called before a membership is deleted. The organization is locked."""


class Hooks(Generic[H]):
    """The functions to call on one kind of change, in the order in which they were registered."""

    def __init__(self) -> None:
        self._functions: list[H] = []

    def register(self, function: H) -> None:
        if function not in self._functions:
            self._functions.append(function)

    def __iter__(self) -> Iterator[H]:
        return iter(self._functions)


plan_changed: Hooks[PlanHook] = Hooks()
membership_ends: Hooks[MembershipHook] = Hooks()
