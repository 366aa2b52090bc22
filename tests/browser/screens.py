"""Screens that pages are looked at on, and what each page must be there."""

from typing import Literal

from playwright.sync_api import Page, ViewportSize, expect

from tests import profiles

DESK: ViewportSize = {"width": 1400, "height": 900}
HAND: ViewportSize = {"width": 390, "height": 844}
COLORS: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SCREENS: list[tuple[ViewportSize, Literal["light", "dark"]]] = (
    [(size, colors) for size in (DESK, HAND) for colors in COLORS]
    if profiles.IS_LONG
    else [(DESK, "light"), (HAND, "dark")]
)
"""Sizes with the colors that they are seen in: in the short profile each size and each color once."""


def colors_of(number: int) -> tuple[str, ...]:
    """The colors in which the page with this number is checked: both in the long profile, else one and the other in
    turn."""
    return COLORS if profiles.IS_LONG else (COLORS[number % len(COLORS)],)


# The title, and by how many pixels the page is wider than its window. Charts are drawn again some frames after the
# window has changed.
_STATE = """() => new Promise((resolve) => {
    const end = performance.now() + 5000;
    const measure = () => {
        const pixels = document.documentElement.scrollWidth - window.innerWidth;
        if (pixels <= 0 || performance.now() > end) resolve([document.title, pixels]);
        else requestAnimationFrame(measure);
    };
    measure();
})"""


def assert_well_formed(page: Page) -> None:
    expect(page.locator("h1")).not_to_be_empty()
    title, pixels = page.evaluate(_STATE)
    assert title.endswith("| costtrack"), (page.url, title)
    assert pixels <= 0, page.url


def show_on(page: Page, size: ViewportSize, colors: Literal["light", "dark"]) -> None:
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=colors)


def assert_fits_every_screen(page: Page) -> None:
    """Opened once; its window and its colors change."""
    for size, colors in SCREENS:
        show_on(page, size, colors)
        assert_well_formed(page)


def assert_fits_a_hand(page: Page) -> None:
    """In the dark, without a mouse's room; then the page is as wide as before again."""
    before = page.viewport_size
    assert before is not None
    page.set_viewport_size(HAND)
    page.emulate_media(color_scheme="dark")
    page.reload()
    assert_well_formed(page)
    page.set_viewport_size(before)
    page.emulate_media(color_scheme="light")
