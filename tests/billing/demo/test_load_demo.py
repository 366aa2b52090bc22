"""The demo: realistic, deterministic, and safe to load again."""

from datetime import timedelta
from io import StringIO

import time_machine
from django.core.management import call_command
from django.test import Client, TestCase

from billing.admin.components.formatting import NOTHING
from billing.demo.finance import FINANCE
from billing.demo.services import PASSWORD, TENANTS, USERS, load_demo
from billing.models import Run, SpendLimit, UnpricedEvent, UsageEvent
from billing.reports.provider_bills import compare_bills
from billing.types import BillCause
from organizations.models import Organization
from tests.usage import NOW, total_cost


class LoadDemo(TestCase):
    """Load the demo once; changes of a test are rolled back."""

    printed: str

    @classmethod
    def setUpTestData(cls) -> None:
        out = StringIO()
        with time_machine.travel(NOW, tick=False):
            call_command("import_prices", verbosity=0, stdout=StringIO())
            call_command("load_demo", stdout=out)
        cls.printed = out.getvalue()

    def test_it_fills_two_organizations_with_three_months(self) -> None:
        for tenant in TENANTS:
            organization = Organization.objects.get(slug=tenant.slug)
            events = UsageEvent.objects.of(organization)
            assert events.count() > 5_000
            oldest, newest = events.earliest("occurred_at"), events.latest("occurred_at")
            assert newest.occurred_at - oldest.occurred_at > timedelta(days=88)
            assert {"model_call", "tool_call", "compute"} <= set(events.values_list("kind", flat=True))
            assert {"success", "failure"} == set(events.values_list("status", flat=True))
            assert total_cost(events) > 20
            periods = [(NOW - timedelta(days=days), NOW - timedelta(days=days - 30)) for days in (60, 30)]
            before, lately = (total_cost(events.filter(occurred_at__range=period)) for period in periods)
            assert before < lately < 2 * before  # so that comparisons make sense
            assert Run.objects.of(organization).exclude(parent_run_id="").exists()
        unpriced = set(UnpricedEvent.objects.values_list("service", "model"))
        assert unpriced == {("in-house", "meadow-13b")}
        assert all(f"{email} / {PASSWORD}" in self.printed for email, _ in USERS)

    def test_loading_it_again_adds_nothing(self) -> None:
        first = UsageEvent.objects.count()

        assert first > 10_000
        assert load_demo(now=NOW, progress=lambda *_: None) == 0
        assert UsageEvent.objects.count() == first

    def test_its_organizations_have_limits_besides_their_plans(self) -> None:
        for tenant in TENANTS:
            limits = SpendLimit.objects.filter(organization__slug=tenant.slug)
            assert limits.filter(is_plan=True).count() == (tenant.plan == "pay_as_you_go")
            assert limits.filter(is_plan=False).count() >= 4
            assert {limit.is_per_value for limit in limits} == {True, False}
            assert {limit.action for limit in limits} == {"pause", "notify"}

    def test_its_bills_have_every_cause_and_agree_otherwise(self) -> None:
        for tenant in TENANTS:
            organization = Organization.objects.get(slug=tenant.slug)
            comparison = compare_bills(
                organization=organization, first=NOW.date() - timedelta(days=21), last=NOW.date()
            )
            causes = {cause for row in comparison.rows for cause, amount in row.parts.items() if amount}
            assert causes == {
                BillCause.MISSING_CALLS,
                BillCause.PRICE,
                BillCause.INCOMPLETE,
                BillCause.FOREIGN_KEY,
            }
            agreeing = sum(row.agrees for row in comparison.rows)
            assert agreeing > len(comparison.rows) * 0.8
            assert {day.is_closed for day in comparison.days} == {True, False}
            assert sum(comparison.parts.values()) == comparison.difference_usd

    def test_its_pages_for_finance_have_content(self) -> None:
        client = Client()
        client.login(username="owner@harbor.example", password=PASSWORD)
        with time_machine.travel(NOW, tick=False):
            for tenant in TENANTS:
                for page, part in {
                    "outcomes": FINANCE[tenant.slug].outcome,
                    "allocation": "Search index",
                    "commitments": FINANCE[tenant.slug].fees[0].name,
                    "provider-bills": "Not complete yet",
                }.items():
                    response = client.get(f"/o/{tenant.slug}/admin/{page}/")
                    assert part in response.content.decode(), (tenant.slug, page)
                    figures = {figure.name: figure.value for figure in response.context["figures"]}
                    assert NOTHING not in figures.values(), figures

    def test_its_users_can_sign_in(self) -> None:
        for email, _ in USERS:
            client = Client()
            assert client.login(username=email, password=PASSWORD)
            assert client.get("/admin/", follow=True).status_code == 200
