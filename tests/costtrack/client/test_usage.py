"""`costtrack usage summary|timeseries|breakdown|runs`."""

import pytest

from tests.costtrack.client.conftest import Run, Server

SUMMARY = {
    "window": {"start": "2026-11-01T00:00:00Z", "end": "2026-11-08T00:00:00Z"},
    "timezone": "UTC",
    "requests": 12_345,
    "errors": 12,
    "error_rate": 0.0125,
    "prompt_tokens": 1_000_000,
    "completion_tokens": 50_000,
    "total_tokens": 1_050_000,
    "cost_usd": "98.7654321",
    "spend": {"today_usd": "1.5", "rolling_7d_usd": "50", "month_to_date_usd": "98.7654321"},
    "daily": [{"date": "2026-11-01", "cost_usd": "10"}, {"date": "2026-11-02", "cost_usd": "0.25"}],
    "something_new": {"deeper": {"and_deeper": [1, {"x": None}]}},
}
SERIES = {
    "view": "tokens",
    "granularity": "day",
    "timezone": "UTC",
    "window": {"start": "2026-11-01T00:00:00Z", "end": "2026-11-03T00:00:00Z"},
    "buckets": [
        {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z", "prompt_tokens": 1200, "total_tokens": 1500},
        {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z", "prompt_tokens": 0, "total_tokens": 0},
    ],
}
QUERY = {
    "range": "custom",
    "start_date": "2026-11-01",
    "end_date": "2026-11-07",
    "client_id": "c",
    "capability": "chat",
    "model": "m",
    "status": "success",
}
FILTERS = [part for name, value in QUERY.items() for part in (f"--{name.replace('_', '-')}", value)]


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        (["summary"], {}),
        (["summary", *FILTERS], QUERY),
        (["timeseries"], {}),
        (
            ["timeseries", *FILTERS, "--view", "cost", "--granularity", "hour", "--group-by", "model"],
            {**QUERY, "view": "cost", "granularity": "hour", "group_by": "model"},
        ),
        (
            ["breakdown", *FILTERS, "--group-by", "team,tag", "--tag", "red", "--compare", "--limit", "5"],
            {**QUERY, "group_by": "team,tag", "tag": "red", "compare": "true", "limit": "5"},
        ),
        (
            ["runs", "--workflow-id", "w", "--parent-run-id", "r", "--roots", "--limit", "5", "--cursor", "abc"],
            {"workflow_id": "w", "parent_run_id": "r", "is_root": "true", "limit": "5", "cursor": "abc"},
        ),
    ],
)
def test_commands_send_the_documented_requests(
    arguments: list[str], query: dict[str, str], run: Run, server: Server
) -> None:
    server.answers({})
    assert run("usage", *arguments).code == 0
    assert (server.last.method, server.last.path, server.last.query) == ("GET", f"/usage/{arguments[0]}", query)


@pytest.mark.parametrize("arguments", [["--view", "money"], ["--granularity", "minute"]])
def test_a_view_that_is_none_is_a_wrong_argument(arguments: list[str], run: Run, server: Server) -> None:
    assert run("usage", "timeseries", *arguments).code == 2


def test_the_summary_shows_all_it_has(run: Run, server: Server) -> None:
    server.answers(SUMMARY)
    assert run("usage", "summary").lines == [
        "window 2026-11-01T00:00:00Z to 2026-11-08T00:00:00Z",
        "timezone UTC",
        "requests 12,345",
        "errors 12",
        "error rate 1.25%",
        "prompt tokens 1,000,000",
        "completion tokens 50,000",
        "total tokens 1,050,000",
        "cost $98.7654321",
        "spend",
        "today $1.5000000",
        "rolling 7d $50.0000000",
        "month to date $98.7654321",
        "daily",
        "date cost",
        "2026-11-01 $10.00",
        "2026-11-02 $0.25",
        "and deeper",
        "1, x",
    ]


def test_a_series_is_a_line_for_each_bucket(run: Run, server: Server) -> None:
    server.answers(SERIES)
    assert run("usage", "timeseries").out.splitlines()[-3:] == [
        "start                 prompt tokens  total tokens",
        "2026-11-01T00:00:00Z          1,200         1,500",
        "2026-11-02T00:00:00Z              0             0",
    ]


def test_a_grouped_series_ends_with_the_total_of_each_line(run: Run, server: Server) -> None:
    lines = [
        {"key": "m", "name": "gpt-4o", "total": {"total_tokens": 1400}, "buckets": [{"total_tokens": 1400}]},
        {"key": None, "name": "others", "total": {"total_tokens": 100}, "buckets": [{"total_tokens": 100}]},
    ]
    server.answers({**SERIES, "group_by": "model", "series": lines})
    assert run("usage", "timeseries", "--group-by", "model").lines[-4:] == [
        "by model",
        "name total tokens",
        "gpt-4o 1,400",
        "others 100",
    ]


def test_an_empty_series_says_so(run: Run, server: Server) -> None:
    server.answers({"view": "cost", "buckets": []})
    assert run("usage", "timeseries").lines == ["view cost", "no buckets"]


def test_a_breakdown_is_a_table_with_its_total(run: Run, server: Server) -> None:
    figures = {"requests": 2, "cost_usd": "1.5"}
    periods = [{"start": "2026-11-01", "cost_usd": "1.5"}]
    row = {**figures, "user": "ada", "previous": {"cost_usd": "0.5"}, "periods": periods}
    server.answers({"results": [row, {**row, "user": ""}], "total": figures, "next_cursor": "abc"})
    assert run("usage", "breakdown", "--group-by", "user").lines == [
        "user requests cost previous cost 2026-11-01 cost",
        "ada 2 $1.50 $0.50 $1.50",
        "(none) 2 $1.50 $0.50 $1.50",
        "total",
        "requests 2",
        "cost $1.50",
        "More rows: --cursor abc",
    ]


def test_runs_are_a_table_with_the_cost_of_their_descendants(run: Run, server: Server) -> None:
    names = {"run_id": "r", "parent_run_id": None, "workflow_id": "nightly", "descendants": 2}
    row = {**names, "own": {"requests": 3, "cost_usd": "1.5"}, "total": {"cost_usd": "2"}}
    times = {"first_event_at": "2026-11-01T00:00:00Z", "last_event_at": "2026-11-01T00:05:00Z"}
    server.answers({"results": [{**row, **times}], "next_cursor": "abc"})
    assert run("usage", "runs").lines == [
        "run id parent run id workflow id first event at last event at descendants requests cost total cost",
        "r nightly 2026-11-01T00:00:00Z 2026-11-01T00:05:00Z 2 3 $1.50 $2.00",
        "More rows: --cursor abc",
    ]
