"""Rollups: sums of the ledger, by what people ask for. `billing.rollups.definitions` says how each is made.

Each rollup is a table and a view with the same columns. The table (`UsageHour`) has what has been folded; the view
(`LiveUsageHour`) adds the events of batches that are not folded yet, row by row, and is what reports read: whatever was
acknowledged before is in it. So a view may hold several rows for one key: always sum them up.

`archived` rows are what dropped events once added up to. `credential_id` 0 stands for no credential.
"""

from billing.models.rollups.base import RollupRow
from billing.models.rollups.groups import GroupDay, GroupTotal, LiveGroupDay, LiveGroupTotal
from billing.models.rollups.runs import LiveRunDay, LiveRunServiceDay, RunDay, RunServiceDay
from billing.models.rollups.scopes import LiveScopeHour, LiveScopeTotal, ScopeHour, ScopeTotal
from billing.models.rollups.sessions import (
    ExecutionTotal,
    LiveExecutionTotal,
    LiveSessionCost,
    LiveSessionModel,
    LiveSessionTotal,
    SessionCost,
    SessionModel,
    SessionTotal,
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
    "ExecutionTotal",
    "GroupDay",
    "GroupTotal",
    "LiveCustomerDay",
    "LiveExecutionTotal",
    "LiveGroupDay",
    "LiveGroupTotal",
    "LiveModelDay",
    "LiveOrganizationHour",
    "LiveRunDay",
    "LiveRunServiceDay",
    "LiveScopeHour",
    "LiveScopeTotal",
    "LiveSessionCost",
    "LiveSessionModel",
    "LiveSessionTotal",
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
    "SessionCost",
    "SessionModel",
    "SessionTotal",
    "SpendDay",
    "TagDay",
    "UsageDay",
    "UsageHour",
    "UserDay",
    "UserTotal",
]
