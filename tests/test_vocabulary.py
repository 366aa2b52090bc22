"""Identifiers use the words of docs/glossary.md, not those that its last table rules out.

The list of what is still there may only shrink: a new word fails, and so does a listed one that has gone.
`python tests/test_vocabulary.py` prints the list as it is now.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("benchmarks", "billing", "costtrack", "docs", "examples", "organizations", "tests")

REFUSED = frozenset(
    {
        *("told", "tell", "tells", "telling", "asked", "wanted", "question", "questions", "kept", "anew"),
        *("dear", "dearer", "dearest", "place", "places", "book", "books", "shelf", "shelves", "standing", "standings"),
        *("nudge", "nudges", "nudged", "waits", "waiting", "ours", "door", "doors", "room", "rooms"),
    }
)
REFUSED_PREFIXES = ("MOST_", "LONGEST_")

# What Django and other libraries name, and the one book of the glossary: a set of prices.
_ACCEPTED = re.compile(r"decimal_places|price_?books?|PriceBook", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# Words that files still use in identifiers. No word and no file is added here.
STILL_USED: dict[str, str] = {
    "billing/ingest/entries.py": "book",
    "billing/ingest/services.py": "book",
    "billing/ledger/price_unpriced.py": "book",
    "billing/ledger/reprice.py": "book",
    "billing/limits/locks.py": "place",
    "billing/models/limits.py": "book",
    "billing/pricing/cache.py": "book books",
    "billing/reports/spend/sums.py": "MOST_",
    "billing/reports/usage/calls_by_cost.py": "MOST_",
    "tests/billing/admin/components/test_local_times.py": "told",
    "tests/billing/admin/components/test_multi_select.py": "told",
    "tests/billing/admin/dashboard/test_exports.py": "asked tells",
    "tests/billing/admin/dashboard/test_getting_started.py": "asked ours",
    "tests/billing/admin/dashboard/test_plan.py": "asked told",
    "tests/billing/admin/dashboard/test_pricing.py": "asked dearest told",
    "tests/billing/admin/dashboard/test_request_log.py": "place",
    "tests/billing/admin/dashboard/test_request_log_by_cost.py": "dearer place told",
    "tests/billing/admin/dashboard/test_runs.py": "asked told waits",
    "tests/billing/admin/dashboard/test_session.py": "place",
    "tests/billing/admin/dashboard/test_sessions.py": "place told",
    "tests/billing/admin/dashboard/test_tags.py": "dearest told",
    "tests/billing/admin/dashboard/test_usage_page.py": "questions tells told",
    "tests/billing/admin/events/test_batch_and_run_admin.py": "waits",
    "tests/billing/admin/events/test_event_admin.py": "told",
    "tests/billing/admin/events/test_event_explanation.py": "told",
    "tests/billing/admin/events/test_event_list.py": "asked",
    "tests/billing/admin/limits/test_authorization_admin.py": "tells",
    "tests/billing/admin/notifications/test_delivery_admin.py": "told",
    "tests/billing/admin/notifications/test_email_pages.py": "told",
    "tests/billing/admin/prices/test_repricing_admin.py": "asked told",
    "tests/billing/admin/prices/test_unpriced_event_admin.py": "waiting",
    "tests/billing/api/test_costs_entries.py": "door tells told",
    "tests/billing/api/test_costs_executions.py": "asked",
    "tests/billing/api/test_costs_runs.py": "asked told",
    "tests/billing/api/test_costs_sessions.py": "asked told",
    "tests/billing/api/test_deliveries.py": "waiting",
    "tests/billing/api/test_events_list.py": "door questions",
    "tests/billing/api/test_integrations_litellm.py": "kept",
    "tests/billing/api/test_limits_requests.py": "asked",
    "tests/billing/api/test_notification_preferences.py": "wanted",
    "tests/billing/api/test_repricings.py": "asked waits",
    "tests/billing/api/test_response_cache.py": "kept question questions",
    "tests/billing/api/test_spend_calculate.py": "kept",
    "tests/billing/api/test_spend_invariants.py": "dear told",
    "tests/billing/api/test_spend_logs.py": "asked told",
    "tests/billing/api/test_spend_logs_page.py": "told",
    "tests/billing/api/test_system_cache.py": "kept place question",
    "tests/billing/api/test_system_groups.py": "told",
    "tests/billing/api/test_system_pricing.py": "ours waits",
    "tests/billing/api/test_system_refresh.py": "asked waiting waits",
    "tests/billing/api/test_usage_access.py": "asked room tells",
    "tests/billing/api/test_usage_authorizations.py": "room told",
    "tests/billing/api/test_usage_authorizations_list.py": "asked place",
    "tests/billing/api/test_usage_authorizations_refused.py": "asked",
    "tests/billing/api/test_usage_charts.py": "dearest told",
    "tests/billing/api/test_usage_events.py": "waiting waits",
    "tests/billing/api/test_usage_events_refused.py": "ours",
    "tests/billing/api/test_usage_export.py": "questions",
    "tests/billing/api/test_usage_figures.py": "asked ours waiting wanted",
    "tests/billing/api/test_usage_limits.py": "told",
    "tests/billing/api/test_usage_own.py": "tells told",
    "tests/billing/api/test_usage_requests.py": "questions tells",
    "tests/billing/api/test_usage_summary.py": "questions",
    "tests/billing/demo/test_load_demo.py": "waiting",
    "tests/billing/exports/test_pricing_zip.py": "kept",
    "tests/billing/ingest/litellm_payloads.py": "question",
    "tests/billing/ingest/test_collisions.py": "told",
    "tests/billing/ingest/test_entries.py": "kept ours",
    "tests/billing/ingest/test_litellm_names.py": "kept room tells",
    "tests/billing/ingest/test_litellm_odd.py": "kept places",
    "tests/billing/ingest/test_litellm_users.py": "kept place",
    "tests/billing/ingest/test_quarantine.py": "kept",
    "tests/billing/ledger/test_corrections_in_any_order.py": "asked",
    "tests/billing/ledger/test_price_unpriced.py": "waiting",
    "tests/billing/ledger/test_reprice.py": "room",
    "tests/billing/ledger/test_reprice_command.py": "told",
    "tests/billing/ledger/test_summaries.py": "place tell tells told",
    "tests/billing/limits/test_authorizations_state_machine.py": "room",
    "tests/billing/limits/test_balances.py": "waiting",
    "tests/billing/limits/test_enforce.py": "tells told",
    "tests/billing/limits/test_enforce_changes.py": "told",
    "tests/billing/limits/test_enforce_per_value.py": "told",
    "tests/billing/limits/test_estimate.py": "asked dearer kept questions tells",
    "tests/billing/limits/test_forecast.py": "room",
    "tests/billing/limits/test_limits_command.py": "tells told",
    "tests/billing/limits/test_limits_exceptions.py": "place",
    "tests/billing/limits/test_limits_increases.py": "asked told waits",
    "tests/billing/limits/test_limits_services.py": "place",
    "tests/billing/limits/test_simulated_months.py": "room told",
    "tests/billing/limits/test_threshold_events.py": "tells told",
    "tests/billing/limits/test_values_near_threshold.py": "question",
    "tests/billing/limits/test_verify.py": "kept",
    "tests/billing/notifications/test_deliver.py": "waiting waits",
    "tests/billing/notifications/test_outbox.py": "nudged tell told",
    "tests/billing/notifications/test_send_emails.py": "room told waiting",
    "tests/billing/notifications/webhooks/test_disabling.py": "told",
    "tests/billing/notifications/webhooks/test_queue.py": "waits",
    "tests/billing/notifications/webhooks/test_retries.py": "asked waits",
    "tests/billing/notifications/webhooks/test_sending.py": "told wanted",
    "tests/billing/notifications/webhooks/test_services.py": "kept told waiting",
    "tests/billing/pricing/test_book.py": "book books",
    "tests/billing/pricing/test_catalogue_import.py": "asked book",
    "tests/billing/pricing/test_services.py": "kept told",
    "tests/billing/pricing/test_timeline.py": "place",
    "tests/billing/reports/test_delivery_health.py": "told waits",
    "tests/billing/reports/test_document_000.py": "books questions",
    "tests/billing/reports/test_equal_times.py": "told",
    "tests/billing/reports/test_health.py": "waits",
    "tests/billing/reports/test_intake_health.py": "questions told",
    "tests/billing/reports/test_limit_health.py": "told",
    "tests/billing/reports/test_session_invariants.py": "places told",
    "tests/billing/rollups/test_command.py": "tells waits",
    "tests/billing/rollups/test_retention.py": "asked",
    "tests/billing/rollups/test_verify.py": "kept",
    "tests/browser/arrangements.py": "asked told",
    "tests/browser/conftest.py": "kept",
    "tests/browser/history.py": "place told",
    "tests/browser/test_addresses.py": "told",
    "tests/browser/test_corrections.py": "anew",
    "tests/browser/test_first_steps_page.py": "asked kept place",
    "tests/browser/test_ledger.py": "told waiting waits",
    "tests/browser/test_limits.py": "standing told",
    "tests/browser/test_most_expensive_hour.py": "dearest place",
    "tests/browser/test_plan_and_exports.py": "asked kept told",
    "tests/browser/test_pricing.py": "told",
    "tests/browser/test_quality.py": "place told",
    "tests/browser/test_request_log.py": "told wanted",
    "tests/browser/test_roles.py": "told waiting",
    "tests/browser/test_runs.py": "told",
    "tests/browser/test_schema_page.py": "asked",
    "tests/browser/test_sessions.py": "told",
    "tests/browser/test_settings.py": "told",
    "tests/browser/test_sign_in.py": "asked",
    "tests/browser/test_tags.py": "wanted",
    "tests/browser/test_usage.py": "told",
    "tests/browser/walks.py": "dearest place places told wanted",
    "tests/concurrency/test_authorizations_races.py": "place",
    "tests/concurrency/test_intake.py": "waiting",
    "tests/concurrency/test_limit_changes.py": "place",
    "tests/concurrency/test_pgbouncer.py": "place",
    "tests/concurrency/test_statement_timeout.py": "waits",
}


def identifiers(tree: ast.AST) -> Iterator[str]:
    """The names that a file defines: functions, classes, parameters, variables, attributes and imports' new names."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr
            case ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name


def refused_words(identifier: str) -> set[str]:
    words = {word.lower() for word in _WORD.findall(_ACCEPTED.sub("", identifier))}
    prefixes = {prefix for prefix in REFUSED_PREFIXES if identifier.lstrip("_").startswith(prefix)}
    return words & REFUSED | prefixes


@cache
def used() -> dict[str, str]:
    """By file: the refused words in its identifiers, in order."""
    found = {}
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        if "migrations" in path.parts:
            continue
        names = set(identifiers(ast.parse(path.read_text(encoding="utf-8"))))
        if words := set().union(*map(refused_words, names)):
            found[str(path.relative_to(ROOT))] = " ".join(sorted(words))
    return found


def _words(of_files: dict[str, str]) -> set[tuple[str, str]]:
    return {(path, word) for path, words in of_files.items() for word in words.split()}


def test_no_identifier_has_a_word_that_is_not_used_any_more() -> None:
    assert sorted(_words(used()) - _words(STILL_USED)) == []


def test_the_list_of_words_that_are_still_used_only_shrinks() -> None:
    assert sorted(_words(STILL_USED) - _words(used())) == []


def test_the_glossary_lists_the_refused_words() -> None:
    table = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").rpartition("| not | but |")[2]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| ") and "---" not in row]
    listed = {word.lower() for row in rows for word in re.findall(r"[A-Za-z]+", re.sub(r"\(.*?\)", "", row))}

    assert listed - REFUSED <= {"most", "x", "longest"}
    assert {"told", "asked", "place", "door"} <= listed


if __name__ == "__main__":
    for path, words in used().items():
        print(f'    "{path}": "{words}",')  # noqa: T201 - this is the command's output
