"""The Chromium of the browser tests, for the pages that benchmarks write."""

from tests.browser.conftest import browser, complaints, context

__all__ = ["browser", "complaints", "context"]
