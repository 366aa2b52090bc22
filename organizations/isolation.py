"""A trial of row-level security: whether a transaction of one organization sees rows of another."""

from dataclasses import dataclass

from django.apps import apps
from django.db import ProgrammingError, connection, transaction
from django.db.models import Model

from costtrack.tenancy import tenant_scope
from organizations.models import Organization

_NO_ORGANIZATION = 0


@dataclass(frozen=True, slots=True)
class IsolationTrial:
    """The tables with rows of an organization, and those of them whose rows another organization's transaction sees.
    `is_bypassed`: the role of that transaction ignores the policies."""

    tables: tuple[str, ...]
    visible: tuple[str, ...]
    is_bypassed: bool


def try_isolation() -> IsolationTrial | None:
    """Look for rows of the oldest organization in a transaction of the second one, or of none. Return None if there are
    no organizations. Reads one row of each table."""
    ids = list(Organization.objects.order_by("pk").values_list("pk", flat=True)[:2])
    if not ids:
        return None
    other = ids[1] if len(ids) > 1 else _NO_ORGANIZATION
    filled = [model for model in _tenant_models() if _has_rows(model, ids[0])]
    with tenant_scope(other):
        visible = [model for model in filled if _has_rows(model, ids[0])]
        with connection.cursor() as cursor:
            cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
            [is_bypassed] = cursor.fetchone()
    return IsolationTrial(_tables(filled), _tables(visible), is_bypassed=is_bypassed)


def _tenant_models() -> list[type[Model]]:
    models = (model for model in apps.get_models() if model._meta.managed)  # noqa: SLF001 - documented for this
    return [model for model in models if any(field.name == "organization" for field in model._meta.get_fields())]  # noqa: SLF001


def _has_rows(model: type[Model], organization_id: int) -> bool:
    """Whether a row of the organization is visible. A table that the role may not read shows none."""
    try:
        with transaction.atomic():
            return model._base_manager.filter(organization=organization_id).exists()  # noqa: SLF001 - documented
    except ProgrammingError:
        return False


def _tables(models: list[type[Model]]) -> tuple[str, ...]:
    return tuple(model._meta.db_table for model in models)  # noqa: SLF001 - documented for this
