"""`costtrack usage anomalies`."""

from tests.costtrack.client.conftest import Run, Server


def test_each_anomaly_is_a_row_with_what_it_is_due_to(run: Run, server: Server) -> None:
    causes = [{"by": "user", "key": "ada", "usd": "490"}, {"by": "model", "key": "gpt-5", "usd": "480"}]
    row = {"id": 7, "direction": "rise", "by": "team", "key": "search", "spent_usd": "500", "explained_by": causes}
    server.answers({"results": [row], "next_cursor": "abc"})
    done = run("usage", "anomalies", "--by", "team", "--direction", "rise", "--limit", "1")
    assert (server.last.path, server.last.query) == (
        "/usage/anomalies",
        {"by": "team", "direction": "rise", "limit": "1"},
    )
    assert "user ada 490, model gpt-5 480" in done.out
    assert "--cursor abc" in done.out
