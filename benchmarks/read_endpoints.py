"""Every documented read endpoint. Add a new one as a line here. Its URL and body can contain names of values of
`benchmarks.read_samples` in angle brackets, which are different in each request."""

import re
from dataclasses import dataclass

from benchmarks.client import Caller
from benchmarks.read_samples import Sample

_NAME = re.compile(r"<(\w+)>")


@dataclass(frozen=True)
class Endpoint:
    """An endpoint without a body is a GET. Some responses are cached while nothing changes; `is_new` bypasses the
    cache."""

    name: str
    address: str
    body: str = ""
    is_new: bool = True

    def filled(self, sample: Sample) -> tuple[str, str]:
        """Return the URL and the body."""
        address, body = (_NAME.sub(lambda name: sample[name[1]], text) for text in (self.address, self.body))
        return address, body

    def request(self, caller: Caller, sample: Sample) -> bytes:
        address, body = self.filled(sample)
        headers = ["X-Bypass-Cache: 1"] if self.is_new else []
        return caller.post(address, body.encode(), *headers) if body else caller.get(address, *headers)


BARE = Endpoint("a bare DRF view", "/bare")
_MONTH = "start_date=<month_ago>&end_date=<today>"
_MONTH_BODY = '{"start_date": "<month_ago>", "end_date": "<today>"}'
ENDPOINTS = (
    Endpoint("/costs/runs", "/costs/runs"),
    Endpoint("/costs/runs, 30 days", f"/costs/runs?{_MONTH}"),
    Endpoint("/costs/runs, from minute to minute", "/costs/runs?start_date=<week_before>&end_date=<instant>"),
    Endpoint("/costs/runs, a workflow", "/costs/runs?workflow_id=<workflow>"),
    Endpoint("/costs/runs, a workflow and children", "/costs/runs?workflow_id=<workflow>&include_children=true"),
    Endpoint("/costs/runs/(id)", "/costs/runs/<run>"),
    Endpoint("/costs/runs/(id), with children", "/costs/runs/<parent>?include_children=true"),
    Endpoint("/costs/runs/(id)/entries", "/costs/runs/<run>/entries"),
    Endpoint("/costs/sessions", "/costs/sessions"),
    Endpoint("/costs/sessions, of an execution", "/costs/sessions?execution_id=<execution>"),
    Endpoint("/costs/sessions/(id)", "/costs/sessions/<session>"),
    Endpoint("/costs/executions", "/costs/executions"),
    Endpoint("/costs/executions/(id)", "/costs/executions/<execution>"),
    Endpoint("/costs/summary", "/costs/summary"),
    Endpoint("/system/pricing", "/system/pricing", "{}"),
    Endpoint("/system/pricing, 30 days", "/system/pricing", _MONTH_BODY),
    Endpoint("/system/groups", "/system/groups", "{}"),
    Endpoint("/system/groups, by cost", "/system/groups", '{"sort_by": "total_cost"}'),
    Endpoint("/system/groups, 30 days", "/system/groups", _MONTH_BODY),
    Endpoint("/spend/logs, a day", "/spend/logs?start_date=<day>&end_date=<day>"),
    Endpoint("/spend/logs, 30 days", f"/spend/logs?{_MONTH}"),
    Endpoint("/spend/logs, a request", "/spend/logs?request_id=<sent>"),
    Endpoint("/spend/logs/v2, 30 days", f"/spend/logs/v2?{_MONTH}"),
    Endpoint("/global/spend/logs", "/global/spend/logs"),
    Endpoint("/global/spend/keys", "/global/spend/keys"),
    Endpoint("/global/spend/models", "/global/spend/models"),
    Endpoint("/global/activity, 30 days", f"/global/activity?{_MONTH}"),
    Endpoint("/spend/tags", "/spend/tags"),
    Endpoint("/spend/tags, 30 days", f"/spend/tags?{_MONTH}"),
    Endpoint("/spend/keys", "/spend/keys"),
    Endpoint("/spend/users", "/spend/users"),
    Endpoint("/global/spend/report, by key", f"/global/spend/report?{_MONTH}&group_by=api_key"),
    Endpoint("/usage/summary, 30 days", f"/usage/summary?{_MONTH}"),
    Endpoint("/usage/summary, of a model", f"/usage/summary?{_MONTH}&model=<model>"),
    Endpoint("/usage/timeseries, 30 days", f"/usage/timeseries?{_MONTH}&granularity=day"),
    Endpoint("/usage/capabilities, 30 days", f"/usage/capabilities?{_MONTH}"),
    Endpoint("/usage/credentials, 30 days", f"/usage/credentials?{_MONTH}"),
    *(
        Endpoint(f"/usage/breakdown, by {dimension}", f"/usage/breakdown?{_MONTH}&group_by={dimension}")
        for dimension in ("user", "model", "agent", "end_user")
    ),
    Endpoint("/usage/breakdown, by user, of a model", f"/usage/breakdown?{_MONTH}&group_by=user&model=<model>"),
    Endpoint("/usage/limits", "/usage/limits"),
    Endpoint("/usage/authorizations", "/usage/authorizations"),
    Endpoint("/usage/credits", "/usage/credits"),
    Endpoint("/usage/allocation", "/usage/allocation"),
    Endpoint("/usage/allocation/months", "/usage/allocation/months"),
    Endpoint("/usage/allocation/rules", "/usage/allocation/rules"),
    Endpoint("/usage/provider-bills", "/usage/provider-bills"),
    Endpoint("/usage/provider-bills/imports", "/usage/provider-bills/imports"),
    Endpoint("/usage/provider-bills/keys", "/usage/provider-bills/keys"),
    Endpoint("/usage/commitments", "/usage/commitments"),
    Endpoint("/usage/commitments/report", "/usage/commitments/report"),
    Endpoint("/usage/anomalies", "/usage/anomalies"),
    Endpoint("/usage/forecast", "/usage/forecast"),
    Endpoint("/usage/outcomes", "/usage/outcomes"),
    Endpoint("/usage/outcomes/costs, a day", "/usage/outcomes/costs?start_date=<day>&end_date=<day>"),
    Endpoint("/usage/price-check, a day", "/usage/price-check?start_date=<day>&end_date=<day>"),
    Endpoint("/usage/requests", f"/usage/requests?{_MONTH}"),
    Endpoint("/usage/events, first page", "/usage/events"),
    Endpoint("/usage/events, a deep page", "/usage/events?cursor=<cursor>"),
    Endpoint("/usage/events, of a run", "/usage/events?run_id=<run>"),
    Endpoint("/usage/events, of a session", "/usage/events?session_id=<session>"),
    Endpoint("/usage/events, by the sender's id", "/usage/events?event_id=<sent>"),
    Endpoint("/usage/events, a model's failures", "/usage/events?model=<model>&status=failure"),
    Endpoint("/usage/events, of a day", "/usage/events?start_date=<day>&end_date=<day>"),
    Endpoint("/usage/events/(id)", "/usage/events/<event>"),
)
