"""From nothing to the first event, and to a file on the disk: as a person does it."""

import zipfile
from pathlib import Path

from playwright.sync_api import expect

from billing.admin.dashboard.getting_started.snippets import integrations
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.test_every_page import visit
from tests.conftest import Key
from tests.usage import Send, set_price

START, EXPORTS = (f"/o/acme/admin/{name}/" for name in ("start", "exports"))


def test_the_first_event_appears_without_a_reload(browse: Browse, owner: User, key: Key, send: Send) -> None:
    set_price("gpt-4.1-mini", provider="openai", input="0.4", output="1.6")
    page = browse(owner)
    visit(page, START)
    expect(page.get_by_role("heading", name="Step 3: Receive the first event")).to_be_visible()
    send({"service": "openai", "model": "gpt-4.1-mini", "input_tokens": 1200, "output_tokens": 300}, now=utc_now())
    expect(page.get_by_role("heading", name="Step 3: First event received")).to_be_visible()
    expect(page.locator("#first-event.ct-done")).to_contain_text("$0.00096")
    page.get_by_role("link", name="View cost details").click()
    expect(page.get_by_text("$0.00096").first).to_be_visible()


def test_the_ways_are_chosen_by_keyboard_and_copied(browse: Browse, owner: User, key: Key) -> None:
    page = browse(owner)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(START)
    expect(page.locator("#snippet-curl")).to_be_visible()
    page.get_by_label("JSON", exact=True).focus()
    ways = integrations(server="", has_api=True)
    assert len(ways) == 14
    for way in ways[1:]:
        shown = f"#{way.snippets[-1].id}"
        page.keyboard.press("ArrowRight")
        expect(page.locator(shown)).to_be_visible()
        expect(page.locator("#snippet-curl")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Copy command").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == (page.locator("#snippet-curl").text_content() or "").strip()
    assert '"$COSTTRACK_URL/usage/events"' in copied
    page.get_by_role("button", name="Copy variables").click()
    variables = page.evaluate("navigator.clipboard.readText()")
    assert f"export COSTTRACK_URL={page.url.removesuffix(START)}\n" in variables


def test_files_come_and_the_page_says_so(
    browse: Browse, owner: User, organization: Organization, send: Send, tmp_path: Path
) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    send({"id": "mine", "model": "m", "cost_usd": "1"}, now=utc_now())
    page = browse(owner)
    visit(page, EXPORTS)
    for label, verb in (("Usage as a file", "Download file"), ("Runs as ZIP", "Download ZIP")):
        with page.expect_download() as found:
            page.get_by_role("button", name=verb).click()
        saved = tmp_path / found.value.suggested_filename
        found.value.save_as(saved)
        form = page.get_by_role("form", name=label)
        expect(form.get_by_role("status")).to_contain_text("Download started")
        expect(page.get_by_role("button", name=verb)).to_be_enabled()
        if saved.suffix == ".zip":
            assert zipfile.ZipFile(saved).namelist() == ["runs.csv"]
        else:
            assert "mine" in saved.read_text()


_REMEMBER = """status => {
  window.seen = [];
  const look = () => window.seen.push([status.textContent, Boolean(status.querySelector("progress"))]);
  new MutationObserver(look).observe(status, { childList: true });
}"""


def test_a_file_is_said_to_be_in_the_making_until_it_comes(
    browse: Browse, owner: User, organization: Organization, send: Send
) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    send({"id": "mine", "model": "m", "cost_usd": "1"}, now=utc_now())
    page = browse(owner)
    page.goto(EXPORTS)
    status = page.get_by_role("form", name="Runs as ZIP").get_by_role("status")
    status.evaluate(_REMEMBER)
    with page.expect_download():
        page.get_by_role("button", name="Download ZIP").click()
    expect(status).to_contain_text("Download started")
    making, begun = page.evaluate("window.seen")
    assert making == ["Creating the file…", True]
    assert begun[1] is False


def test_dates_are_requested_only_where_they_count(browse: Browse, operator: User, organization: Organization) -> None:
    page = browse(operator, refused_with=422)
    page.goto(EXPORTS)
    form = page.get_by_role("form", name="Usage as a file")
    expect(form.get_by_label("From")).to_be_hidden()
    form.get_by_label("Period").select_option("custom")
    expect(form.get_by_label("From")).to_be_visible()
    form.get_by_role("button").click()
    expect(page.get_by_text("Enter a start date.")).to_be_visible()
    expect(page.get_by_role("alert").first).to_contain_text("No file was created.")
