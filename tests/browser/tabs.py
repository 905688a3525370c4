"""Tabs that tests use one after the other.

A new tab costs a third to a half of a page load: Chromium starts and ends a process for its empty
page, and drops the scripts that it has in memory when a tab closes.
"""

from weakref import WeakSet

from playwright.async_api import BrowserContext, Page

# The size of a page in Playwright.
_SIZE = {"width": 1280, "height": 720}
# Runs after the listeners of the page, which store something at its end.
_FORGET = "addEventListener('pagehide', () => sessionStorage.clear())"

_reusable: WeakSet[Page] = WeakSet()
_empty: list[Page] = []


async def new_page(context: BrowserContext) -> Page:
    """Return an empty page of this context: one that an earlier test has left, or a new one.

    A test may change its size, colours, routes and storage.  A test that adds something else, such
    as a listener, closes its page.
    """
    page = next((page for page in _empty if page.context == context), None)
    if page is None:
        page = await context.new_page()
        _reusable.add(page)
    else:
        _empty.remove(page)
    return page


async def leave(page: Page) -> None:
    """Close a page, or make it empty for `new_page`."""
    if page in _empty:
        return
    if page not in _reusable:
        return await page.close()
    await page.evaluate(_FORGET)
    await page.goto("about:blank")
    await page.unroute_all(behavior="ignoreErrors")
    if page.viewport_size != _SIZE:
        await page.set_viewport_size(_SIZE)  # type: ignore[arg-type]
    await page.emulate_media(color_scheme="light")
    _empty.append(page)
