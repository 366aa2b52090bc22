"""Makes the pictures of the README: `.venv/bin/python docs/images/make.py`.

Starts costtrack with its demo on a data folder of its own, signs in, and photographs the page of a call whose cost
has several lines, and the spend limits.
"""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
PERSON = ("owner@harbor.example", "costtrack-demo")  # as billing.demo makes them
SIZE = (1400, 900)
LIMITS_HEIGHT = 500


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_stack() -> Iterator[str]:
    """The address of a costtrack with the demo, which ends with the block."""
    with tempfile.TemporaryDirectory(prefix="costtrack-") as folder:
        arguments = ["up", "--demo", "--data-dir", f"{folder}/data", "--port", str(free_port())]
        command = [sys.executable, "-m", "costtrack", *arguments]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as stack:  # noqa: S603 - our own
            try:
                yield ready_address(stack.stdout or [])
            finally:
                stack.terminate()
                stack.communicate()


def ready_address(lines: Iterable[str]) -> str:
    for line in lines:
        if line.startswith("costtrack is ready at "):
            return line.split()[-1]
    raise SystemExit("costtrack has not become ready; its own words are above.")


def photograph(page: Page, url: str) -> None:
    page.goto(f"{url}/admin/billing/usageevent/?model=claude-sonnet")
    page.get_by_label("Email").fill(PERSON[0])
    page.get_by_label("Password").fill(PERSON[1])
    page.get_by_role("button", name="Log in").click()
    page.locator("#result_list tbody a").first.click()
    page.locator(".ct-amount").wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FOLDER / "ledger.png")
    page.goto(f"{url}/admin/billing/spendlimit/")
    page.locator("#result_list").wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FOLDER / "limits.png", clip={"x": 0, "y": 0, "width": SIZE[0], "height": LIMITS_HEIGHT})


def main() -> None:
    found = subprocess.run([ROOT / ".ci" / "browser"], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    width, height = SIZE
    with running_stack() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found.stdout.strip(), args=["--no-sandbox"])
        photograph(browser.new_page(viewport={"width": width, "height": height}), url)
        browser.close()


if __name__ == "__main__":
    main()
