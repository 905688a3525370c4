"""Firefox and WebKit, for the tests of what differs between browser engines.

Both are Debian's own packages.  Firefox is driven by Playwright over WebDriver BiDi.  WebKitGTK has
a driver of its own, which speaks W3C WebDriver: JSON over HTTP.
"""

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from playwright.async_api import ConsoleMessage, Error, Frame, Page, async_playwright
from tornado.httpclient import AsyncHTTPClient

from tests.conftest import missing

FIREFOX = "firefox-esr"
WEBKIT_DRIVER = "WebKitWebDriver"
# Seconds for a browser to start, and for a page to do what a test waits for.
SECONDS = 60

# A driver reports no console, so the page collects its errors, from the first moment at which a
# driver can reach the document.  This returns false while the previous document is still there.
_COLLECT_ERRORS = """() => {
  if (window.isPrevious) return false;
  if (!window.collectedErrors) {
    window.collectedErrors = [];
    const collect = (event) => {
      const text = event.message ?? event.reason ?? event.violatedDirective;
      // Reports only that an observer changed a size that it observes; the rest follows in the
      // next frame (Resize Observer §3.4.6).
      if (`${text}`.startsWith("ResizeObserver loop")) return;
      window.collectedErrors.push(`${event.type}: ${text}`);
    };
    for (const type of ["error", "unhandledrejection", "securitypolicyviolation"]) {
      addEventListener(type, collect);
    }
  }
  return document.readyState === "complete";
}"""


_FIREFOX_REASONS = ("Address rejected", "NS_BINDING_ABORTED")


class Engine(Protocol):
    """A browser with one tab."""

    async def open(self, url: str) -> None:
        """Navigate to `url`, and return when the page has loaded."""

    async def run(self, function: str, argument: object = None) -> Any:
        """Call a JavaScript function with `argument`; wait for its promise, if it returns one."""

    async def errors(self) -> list[str]:
        """Return the errors of the current page."""


async def wait_until(engine: Engine, condition: str, argument: object = None) -> None:
    """Wait until the JavaScript function `condition`, called with `argument`, returns true."""
    wait_a_second = f"""async (argument) => {{
      const holds = {condition};
      const end = performance.now() + 1000;
      while (!holds(argument)) {{
        if (performance.now() > end) return false;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }}
      return true;
    }}"""
    async with asyncio.timeout(SECONDS):
        while not await _run_or_repeat(engine, wait_a_second, argument):
            pass


async def _run_or_repeat(engine: Engine, function: str, argument: object = None) -> Any:
    with suppress(Interrupted):
        return await engine.run(function, argument)


class Interrupted(Exception):
    """The driver of WebKit lost a call: an earlier page was destroyed at that moment."""


class Firefox:
    def __init__(self, page: Page) -> None:
        self._page = page
        self._errors: list[str] = []
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self._errors.append(str(error)))
        page.on("framenavigated", self._navigated)

    def _navigated(self, frame: Frame) -> None:
        if frame == self._page.main_frame:
            self._errors.clear()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._errors.append(message.text)

    async def open(self, url: str) -> None:
        try:
            await self._page.goto(url)
        except Error as error:
            # Firefox rejects or aborts a navigation now and then, and accepts it again.
            if not any(
                text in error.message for text in ("Address rejected", "NS_BINDING_ABORTED")
            ):
                raise
            await self._page.goto(url)

    async def run(self, function: str, argument: object = None) -> Any:
        return await self._page.evaluate(function, argument)

    async def errors(self) -> list[str]:
        return self._errors


class WebKit:
    def __init__(self, session_url: str) -> None:
        self._session_url = session_url

    async def open(self, url: str) -> None:
        await self.run("() => { window.isPrevious = true; }")
        await call("POST", f"{self._session_url}/url", {"url": url})
        async with asyncio.timeout(SECONDS):
            # There is no event: the driver's own wait for "load" does not end while a frame loads.
            while not await _run_or_repeat(self, _COLLECT_ERRORS):
                await asyncio.sleep(0.02)

    async def run(self, function: str, argument: object = None) -> Any:
        script = {"script": f"return ({function})(arguments[0]);", "args": [argument]}
        return await call("POST", f"{self._session_url}/execute/sync", script)

    async def errors(self) -> list[str]:
        return list(await self.run("() => window.collectedErrors"))


async def call(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    """Send one command to a driver, and return the value of its response."""
    data = None if body is None else json.dumps(body)
    response = await AsyncHTTPClient().fetch(
        url, method=method, body=data, request_timeout=SECONDS, raise_error=False
    )
    value = json.loads(response.body)["value"]
    if response.code != 200 and value["error"] in ("no such frame", "script timeout"):
        raise Interrupted(value["message"])
    assert response.code == 200, value
    return value


@asynccontextmanager
async def firefox(**options: Any) -> AsyncIterator[Firefox]:
    """Yield a Firefox; `options` are those of Playwright for a new page."""
    path = shutil.which(FIREFOX) or shutil.which("firefox")
    if path is None:
        missing(FIREFOX)
    async with async_playwright() as playwright:
        browser = await playwright.firefox.launch(
            channel="moz-firefox",  # the stock build, by BiDi, not Playwright's own
            executable_path=path,
            firefox_user_prefs={"ui.prefersReducedMotion": 1},
        )
        yield Firefox(await browser.new_page(**options))
        await browser.close()


@asynccontextmanager
async def webkit() -> AsyncIterator[WebKit]:
    browser = next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)
    if shutil.which(WEBKIT_DRIVER) is None or browser is None:
        missing("webkit2gtk-driver")
    if shutil.which("Xvfb") is None:
        missing("xvfb")  # WebKitGTK has no mode without a display
    options = {
        "pageLoadStrategy": "none",
        "webkitgtk:browserOptions": {"binary": str(browser), "args": ["--automation"]},
    }
    async with _display() as display, _driver(display) as url:
        session = await call("POST", f"{url}/session", {"capabilities": {"alwaysMatch": options}})
        session_url = f"{url}/session/{session['sessionId']}"
        await call("POST", f"{session_url}/timeouts", {"script": 20_000})
        yield WebKit(session_url)
        await call("DELETE", session_url)


@asynccontextmanager
async def _display() -> AsyncIterator[str]:
    """Start an X server without a screen; it prints the number of its display when it is ready."""
    command = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "1280x720x24"]
    server = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert server.stdout is not None
        yield f":{(await server.stdout.readline()).decode().strip()}"
    finally:
        server.terminate()
        await server.wait()


@asynccontextmanager
async def _driver(display: str) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # With the locale "C" the browser's language would be "C" too.  Without a GPU, drawing in layers
    # takes more than half of the CPU time of these tests.
    environment = {**os.environ, "DISPLAY": display, "LANG": "en_US.UTF-8"}
    environment["WEBKIT_DISABLE_COMPOSITING_MODE"] = "1"
    environment.pop("LC_ALL", None)
    driver = await asyncio.create_subprocess_exec(
        WEBKIT_DRIVER, f"--port={port}", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(SECONDS):
            while not await _accepts_connections(port):
                await asyncio.sleep(0.02)  # it prints nothing when it is ready
        yield url
    finally:
        driver.terminate()
        await driver.wait()


async def _accepts_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
