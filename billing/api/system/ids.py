"""UUIDs of models, agents and people, as document 000 knows them.

The ledger has the texts that callers gave. One that is a UUID already stays that; any other becomes a UUID of version 5
in a namespace of ours, so it is the same everywhere and for ever, and needs no table. A model is its service and its
name together.
"""

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import TypeVar
from uuid import UUID, uuid5

from billing.reports.pricing.run_filter import ModelKey

K = TypeVar("K")

# Never to be changed: callers keep what is made of it.
_NAMESPACE = UUID("0d4f6a4e-58f7-4c0e-9a55-3b1f0c7f2a61")
_REMEMBERED = 10_000


@lru_cache(_REMEMBERED)
def model_uuid(model: ModelKey) -> UUID:
    return uuid5(_NAMESPACE, f"model\0{model.service}\0{model.model}")


@lru_cache(_REMEMBERED)
def agent_uuid(agent_id: str) -> UUID:
    return _uuid_in(agent_id) or uuid5(_NAMESPACE, f"agent\0{agent_id}")


@lru_cache(_REMEMBERED)
def user_uuid(user_ref: str) -> UUID:
    return _uuid_in(user_ref) or uuid5(_NAMESPACE, f"user\0{user_ref}")


def with_uuids(known: Iterable[K], uuid_of: Callable[[K], UUID], wanted: Collection[UUID]) -> tuple[K, ...]:
    """Those of the known that have one of the UUIDs: none, if nobody knows them."""
    return tuple(one for one in known if uuid_of(one) in wanted)


def _uuid_in(text: str) -> UUID | None:
    """The UUID that the text is, written out in full. (Python would take other spellings for one, too.)"""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None
