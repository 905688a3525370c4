"""The Chromium of the browser tests, for the pages that benchmarks write."""

from tests.browser.conftest import browser, console_errors, context, shared_context, shared_server

__all__ = ["browser", "console_errors", "context", "shared_context", "shared_server"]
