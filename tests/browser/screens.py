"""Screens that pages are looked at on, and what each page must be there."""

from typing import Literal

from playwright.sync_api import Page, ViewportSize, expect

from tests import profiles

DESK: ViewportSize = {"width": 1280, "height": 900}
"""As wide as a small laptop."""
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


MAY_SCROLL = ".ct-scroll, .ct-code, [data-simplebar], .overflow-x-auto, pre, textarea, input"
"""What may be wider than its place: tables and code, each in a region of its own."""
MAY_SCROLL_ON_A_PHONE = f"{MAY_SCROLL}, .ct-tabs, .ct-page-tabs, .ct-filters"
# The title, by how many pixels the page is wider than its window, what scrolls sideways besides these, and texts that
# are squeezed to a column of letters. So are current tabs that are not in view, and rows of lists with each cell on a
# line of its own. Charts are drawn again some frames after the window has changed.
_STATE = """(mayScroll) => new Promise((resolve) => {
    const end = performance.now() + 5000;
    const named = (element) => `${element.tagName} ${element.className} ${element.innerText.slice(0, 40)}`;
    const scrolls = (element) => element.scrollWidth > element.clientWidth + 1
        && ["auto", "scroll"].includes(getComputedStyle(element).overflowX) && !element.closest(mayScroll);
    const isSqueezed = (element) => {
        const texts = [...element.childNodes].filter((node) => node.nodeType === 3);
        const text = texts.map((node) => node.data).join("").trim();
        const { width, height } = element.getBoundingClientRect();
        return text.length > 3 && width > 2 && width < 24 && height > 60;
    };
    const isOutOfView = (tab) => {
        const { left, right } = tab.getBoundingClientRect();
        const around = tab.parentElement.getBoundingClientRect();
        return left < around.left - 1 || right > around.right + 1;
    };
    const isHigh = ({ cells }) => cells.length > 3
        && [...cells].every((cell, index) => !index || cell.offsetTop > cells[index - 1].offsetTop);
    const measure = () => {
        const pixels = document.documentElement.scrollWidth - window.innerWidth;
        const current = document.querySelectorAll(":is(.ct-tabs, .ct-page-tabs) > [aria-current]");
        const tabs = [...current].filter(isOutOfView);
        if ((pixels > 0 || tabs.length) && performance.now() < end) return requestAnimationFrame(measure);
        const inside = [...document.querySelectorAll("#content *, main *")];
        const rows = [...document.querySelectorAll("#result_list .data-row")];
        const squeezed = [...inside.filter(isSqueezed), ...tabs, ...rows.filter(isHigh)];
        resolve([document.title, pixels, inside.filter(scrolls).map(named), squeezed.map(named)]);
    };
    measure();
})"""


def assert_well_formed(page: Page) -> None:
    expect(page.locator("h1")).not_to_be_empty()
    is_phone = page.viewport_size is not None and page.viewport_size["width"] < DESK["width"]
    title, pixels, scrolling, squeezed = page.evaluate(_STATE, MAY_SCROLL_ON_A_PHONE if is_phone else MAY_SCROLL)
    assert title.endswith("| costtrack"), (page.url, title)
    assert pixels <= 0, page.url
    assert not scrolling, (page.url, scrolling)
    assert not squeezed, (page.url, squeezed)


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
