"""Takes screenshots of the web UI: `.venv/bin/python docs/screenshots.py` writes the README's (`PICTURES`) to
docs/images; with `--all FOLDER`, every page of the navigation and of its first row, in light, in dark and on a phone.

Starts costtrack with its demo on a free port and a temporary data folder, and removes both afterwards.
"""

import argparse
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Error, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
ADMIN = "/o/harbor-analytics/admin/"
OWNER = ("owner@harbor.example", "costtrack-demo")  # created by billing.demo
DESKTOP: ViewportSize = {"width": 1400, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
START_SECONDS, STOP_SECONDS = 300, 60

Colors = Literal["light", "dark"]


@dataclass(frozen=True)
class Picture:
    """A page, or the target of the first link on it that matches `follow`. `height` crops the screenshot."""

    name: str
    path: str
    colors: Colors = "light"
    follow: str = ""
    height: int = DESKTOP["height"]


PICTURES = (
    Picture("usage", f"{ADMIN}usage/"),
    Picture("execution", f"{ADMIN}sessions/?show=executions", follow="#live tbody a[href*='/executions/']"),
    Picture("limits", f"{ADMIN}billing/spendlimit/", colors="dark", height=500),
)
THEMES: tuple[tuple[str, Colors, ViewportSize], ...] = (
    ("light", "light", DESKTOP),
    ("dark", "dark", DESKTOP),
    ("phone", "light", PHONE),
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_stack() -> Iterator[str]:
    """Run costtrack with the demo during the block, and yield its URL. Stop it as well if it does not become ready."""
    with tempfile.TemporaryDirectory(prefix="costtrack-") as folder:
        arguments = ["up", "--demo", "--data-dir", f"{folder}/data", "--port", str(free_port())]
        command = [sys.executable, "-m", "costtrack", *arguments]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as stack:  # noqa: S603 - our own
            patience = threading.Timer(START_SECONDS, stack.terminate)
            patience.start()
            try:
                address = ready_address(stack.stdout or [])
                patience.cancel()
                yield address
            finally:
                patience.cancel()
                stack.terminate()
                try:
                    stack.communicate(timeout=STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    stack.kill()


def ready_address(lines: Iterable[str]) -> str:
    for line in lines:
        if line.startswith("costtrack is ready at "):
            return line.split()[-1]
    raise SystemExit("costtrack has not become ready; its own words are above.")


@contextmanager
def signed_in(browser: Browser, url: str, colors: Colors, size: ViewportSize) -> Iterator[Page]:
    context = browser.new_context(base_url=url, viewport=size, color_scheme=colors, reduced_motion="reduce")
    page = context.new_page()
    page.goto(ADMIN)
    page.locator("input[name=username], input[name=login]").first.fill(OWNER[0])
    page.locator("input[type=password]").first.fill(OWNER[1])
    page.locator("input[type=password]").first.press("Enter")
    page.locator("#nav-sidebar-apps").wait_for(state="attached")
    yield page
    context.close()


def settle(page: Page) -> None:
    """Wait for charts and fonts."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready.then(() => true)")


def photograph_for_readme(browser: Browser, url: str, pictures: Sequence[Picture]) -> None:
    for picture in pictures:
        with signed_in(browser, url, picture.colors, DESKTOP) as page:
            page.goto(picture.path)
            if picture.follow:
                page.locator(picture.follow).first.click()
            settle(page)
            clip = {"x": 0.0, "y": 0.0, "width": float(DESKTOP["width"]), "height": float(picture.height)}
            page.screenshot(path=IMAGES / f"{picture.name}.png", clip=clip)  # type: ignore[arg-type]  # a FloatRect
            print(f"{picture.name}.png: {page.url.removeprefix(url)}")


def photograph_all(browser: Browser, url: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for theme, colors, size in THEMES:
        with signed_in(browser, url, colors, size) as page:
            for path in pages(page):
                try:
                    photograph_with_row(page, path, folder, theme)
                except Error as error:
                    print(f"{path}: {error.message}")


def pages(page: Page) -> list[str]:
    """Return the paths of the navigation's pages, as the palette lists them."""
    page.goto(f"{ADMIN}search/")
    paths: list[str] = page.locator("a").evaluate_all("links => links.map(link => link.pathname)")
    return paths


def photograph_with_row(page: Page, path: str, folder: Path, theme: str) -> None:
    page.goto(path)
    settle(page)
    name = urlsplit(path).path.removeprefix(ADMIN).strip("/").replace("/", "-") or "overview"
    page.screenshot(path=folder / f"{name}.{theme}.png", full_page=True)
    links: list[str] = page.locator("tbody a[href]").evaluate_all("links => links.map(link => link.pathname)")
    rows = [link for link in links if link.startswith(path) and link not in (path, f"{path}add/")]
    if rows:
        page.goto(rows[0])
        settle(page)
        page.screenshot(path=folder / f"{name}-row.{theme}.png", full_page=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, into this folder, instead")
    parser.add_argument("--only", nargs="*", choices=[picture.name for picture in PICTURES], help="of the README's")
    options = parser.parse_args()
    # Stop costtrack and the browser on SIGTERM as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    paths = subprocess.run([ROOT / ".ci" / "browser"], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    with running_stack() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=paths.stdout.strip(), args=["--no-sandbox"])
        if options.all:
            photograph_all(browser, url, options.all)
        else:
            pictures = [picture for picture in PICTURES if not options.only or picture.name in options.only]
            photograph_for_readme(browser, url, pictures)
        browser.close()


if __name__ == "__main__":
    main()
