"""UUIDs of models, agents, users and groups in document 000.

The ledger has the ids that callers sent. An id that is a UUID is used as it is; any other text becomes a version 5
UUID in a fixed namespace, so the mapping is stable and needs no table. A model is identified by its service and
name.
"""

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import TypeVar
from uuid import UUID, uuid5

from billing.models import GenerationGroup
from billing.reports.pricing.run_filter import ModelKey
from organizations.models import Organization

K = TypeVar("K")

# Must never change, because callers store the derived UUIDs.
_NAMESPACE = UUID("0d4f6a4e-58f7-4c0e-9a55-3b1f0c7f2a61")
_CACHE_SIZE = 10_000


@lru_cache(_CACHE_SIZE)
def model_uuid(model: ModelKey) -> UUID:
    return uuid5(_NAMESPACE, f"model\0{model.service}\0{model.model}")


@lru_cache(_CACHE_SIZE)
def agent_uuid(agent_id: str) -> UUID:
    return _parse_uuid(agent_id) or uuid5(_NAMESPACE, f"agent\0{agent_id}")


@lru_cache(_CACHE_SIZE)
def user_uuid(user_ref: str) -> UUID:
    return _parse_uuid(user_ref) or uuid5(_NAMESPACE, f"user\0{user_ref}")


def group_uuid(group_id: str) -> UUID:
    return _parse_uuid(group_id) or uuid5(_NAMESPACE, f"group\0{group_id}")


def find_groups(*, organization: Organization, text: str) -> tuple[str, ...]:
    """Return the groups with this id as sent, or with this UUID. Only the UUID of another text needs a search."""
    uuid, groups = _parse_uuid(text), GenerationGroup.live().objects.of(organization)
    if uuid is None or groups.filter(group_id=text).exists():
        return (text,)
    group_ids = groups.order_by().values_list("group_id", flat=True).distinct()
    return tuple(group_id for group_id in group_ids.iterator() if group_uuid(group_id) == uuid)


def select_by_uuid(known: Iterable[K], uuid_of: Callable[[K], UUID], uuids: Collection[UUID]) -> tuple[K, ...]:
    """Return the items that have one of the UUIDs."""
    return tuple(item for item in known if uuid_of(item) in uuids)


def _parse_uuid(text: str) -> UUID | None:
    """Return the UUID if the text is one in canonical form. `UUID()` also accepts other spellings."""
    try:
        uuid = UUID(text)
    except ValueError:
        return None
    return uuid if str(uuid) == text.lower() else None
