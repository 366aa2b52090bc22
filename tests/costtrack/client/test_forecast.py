"""`costtrack usage forecast`."""

from tests.costtrack.client.conftest import Run, Server


def test_each_period_of_a_series_is_a_row(run: Run, server: Server) -> None:
    day = {"period": "day", "spent_usd": "1", "expected_usd": "3", "low_usd": None, "high_usd": None}
    month = {**day, "period": "month", "expected_usd": None}
    server.answers({"by": "team", "results": [{"key": "search", "name": "search", "periods": [day, month]}]})
    done = run("usage", "forecast", "--by", "team")
    assert (server.last.path, server.last.query) == ("/usage/forecast", {"by": "team"})
    assert [line.split()[:3] for line in done.lines[1:3]] == [
        ["search", "search", "day"],
        ["search", "search", "month"],
    ]
    assert "Not enough history" in done.out
