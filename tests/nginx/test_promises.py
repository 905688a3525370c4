"""What is promised of a server is promised of many behind nginx: the very same tests.

Left out is what is a matter of one process: its rates, its books, its end.
"""

import pytest


@pytest.fixture
def hub() -> str:
    return "nginx"
