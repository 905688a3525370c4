"""The promises of one server also hold for several workers behind nginx: the same tests.

Left out are the tests of a single process: its rate limits, its traffic statistics, its shutdown.
"""

import pytest


@pytest.fixture
def hub() -> str:
    return "nginx"
