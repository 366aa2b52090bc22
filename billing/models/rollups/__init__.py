"""Rollups: aggregations of the ledger, defined in `billing.rollups.definitions`.

Each rollup is a table and a view with the same columns. The table (`UsageHour`) has the folded events. The view
(`LiveUsageHour`) adds each unfolded event as a row, and is what reports read, so they include every acknowledged event.
A view may have several rows for one key: always aggregate them.

`archived` rows are the sums of dropped events. `credential_id` 0 means no credential.
"""

from billing.models.rollups.base import RollupRow
from billing.models.rollups.groups import GenerationGroup, GroupDay, LiveGenerationGroup, LiveGroupDay
from billing.models.rollups.runs import LiveRunDay, LiveRunServiceDay, RunDay, RunServiceDay
from billing.models.rollups.scopes import LiveScopeHour, LiveScopeTotal, ScopeHour, ScopeTotal
from billing.models.rollups.sessions import (
    Execution,
    LiveExecution,
    LiveSession,
    LiveSessionCost,
    LiveSessionModel,
    Session,
    SessionCost,
    SessionModel,
)
from billing.models.rollups.spend import (
    CustomerDay,
    LiveCustomerDay,
    LiveSpendDay,
    LiveTagDay,
    LiveUserDay,
    LiveUserTotal,
    SpendDay,
    TagDay,
    UserDay,
    UserTotal,
)
from billing.models.rollups.usage import (
    LiveModelDay,
    LiveOrganizationHour,
    LiveUsageDay,
    LiveUsageHour,
    ModelDay,
    OrganizationHour,
    UsageDay,
    UsageHour,
)

__all__ = [
    "CustomerDay",
    "Execution",
    "GenerationGroup",
    "GroupDay",
    "LiveCustomerDay",
    "LiveExecution",
    "LiveGenerationGroup",
    "LiveGroupDay",
    "LiveModelDay",
    "LiveOrganizationHour",
    "LiveRunDay",
    "LiveRunServiceDay",
    "LiveScopeHour",
    "LiveScopeTotal",
    "LiveSession",
    "LiveSessionCost",
    "LiveSessionModel",
    "LiveSpendDay",
    "LiveTagDay",
    "LiveUsageDay",
    "LiveUsageHour",
    "LiveUserDay",
    "LiveUserTotal",
    "ModelDay",
    "OrganizationHour",
    "RollupRow",
    "RunDay",
    "RunServiceDay",
    "ScopeHour",
    "ScopeTotal",
    "Session",
    "SessionCost",
    "SessionModel",
    "SpendDay",
    "TagDay",
    "UsageDay",
    "UsageHour",
    "UserDay",
    "UserTotal",
]
