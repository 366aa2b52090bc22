"""Import of another price list beside the catalog: coverage and differences first, then what is missing."""

import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command

from billing.models import PriceVersion, UsageEvent
from organizations.models import Organization
from tests.usage import NOW, Send, send_events, set_price

LITELLM = {
    "sample_spec": {"litellm_provider": "one of ..."},
    "gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 2e-06, "output_cost_per_token": 1e-05},
    "deepinfra/acme/Llama-9": {
        "litellm_provider": "deepinfra",
        "input_cost_per_token": 1e-07,
        "output_cost_per_token": 4e-07,
        "input_cost_per_token_batches": 5e-08,
        "output_cost_per_token_batches": 2e-07,
    },
}
OPENROUTER = {"data": [{"id": "acme/llama-9", "pricing": {"prompt": "0.0000002", "completion": "0.0000008"}}]}
EVENT = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}


@pytest.fixture(autouse=True)
def _price(db: None) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")


def run(tmp_path: Path, content: object, **options: Any) -> str:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(content))
    output = StringIO()
    call_command("import_prices", str(file), stdout=output, no_color=True, **options)
    return output.getvalue()


def test_what_is_priced_is_compared_and_what_is_missing_is_added(
    tmp_path: Path, send: Send, organization: Organization
) -> None:
    output = run(tmp_path, LITELLM, format="litellm")
    assert (
        "2 models are listed, 1 of them have a price here, which takes precedence; 1 have none and are added." in output
    )
    assert "! gpt-4o: input 2.5 here, 2 there" in output
    assert "+ deepinfra/acme/Llama-9: input 0.1, output 0.4, 1 conditions" in output
    added = PriceVersion.objects.get(source="litellm")
    assert (added.provider, added.model, added.organization_id) == ("deepinfra", "acme/Llama-9", None)

    send({"id": "named", "service": "deepinfra", "model": "acme/Llama-9", **EVENT})
    send({"id": "prefixed", "model": "deepinfra/acme/Llama-9", **EVENT})
    send({"id": "batch", "service": "deepinfra", "model": "acme/Llama-9", "service_tier": "batch", **EVENT})
    send({"id": "ours", "service": "openai", "model": "gpt-4o", **EVENT})
    costs = dict(UsageEvent.objects.values_list("event_id", "token_cost_usd"))
    assert costs == {
        "named": Decimal("0.5"),
        "prefixed": Decimal("0.5"),
        "batch": Decimal("0.25"),
        "ours": Decimal("12.5"),
    }


def test_a_gateways_own_prices_are_found_by_its_names(tmp_path: Path, organization: Organization) -> None:
    entry = {"litellm_provider": "vercel_ai_gateway", "input_cost_per_token": 1e-07, "output_cost_per_token": 4e-07}
    run(tmp_path, {"vercel_ai_gateway/acme/llama-9": entry}, format="litellm")
    send_events(organization, {"service": "vercel_ai_gateway", "model": "acme/llama-9", **EVENT})
    send_events(organization, {"service": "acme", "model": "acme/llama-9", **EVENT})

    costs = dict(UsageEvent.objects.values_list("service", "token_cost_usd"))
    assert costs == {"vercel_ai_gateway": Decimal("0.5"), "acme": None}


def test_a_second_import_changes_nothing_and_a_new_price_begins_now(tmp_path: Path) -> None:
    run(tmp_path, LITELLM, format="litellm")
    assert "Nothing changed" in run(tmp_path, LITELLM, format="litellm")
    changed = json.loads(json.dumps(LITELLM).replace("4e-07", "6e-07"))
    with time_machine.travel(NOW + timedelta(days=1), tick=False):
        assert "output 0.4 -> 0.6" in run(tmp_path, changed, format="litellm")
    assert PriceVersion.objects.filter(source="litellm").count() == 2


def test_openrouters_list_is_read(tmp_path: Path, organization: Organization) -> None:
    run(tmp_path, OPENROUTER, format="openrouter")
    send_events(organization, {"service": "openrouter", "model": "acme/llama-9", **EVENT})
    assert UsageEvent.objects.get().token_cost_usd == 1


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    assert "Dry run, nothing was written: 1 prices begin" in run(tmp_path, LITELLM, format="litellm", dry_run=True)
    assert not PriceVersion.objects.filter(source="litellm").exists()


def test_a_list_must_be_named_and_readable(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Name the file or the URL"):
        call_command("import_prices", format="litellm")
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_prices", str(tmp_path / "nothing.json"), format="litellm")
