"""Many inputs of one promise in one test: pytest alone takes 8 ms of CPU for each test."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any


def each(names: str | Sequence[str], cases: Iterable[Any], **_: Any) -> Callable[..., Any]:
    """Call a test with each case, as `pytest.mark.parametrize` does, but as one test.

    A failure names its case.  All cases share the fixtures of the test.
    """
    parts = [name.strip() for name in names.split(",")] if isinstance(names, str) else [*names]
    rows = [dict(zip(parts, [case] if len(parts) == 1 else case, strict=True)) for case in cases]

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(test):

            @wraps(test)
            async def run(*first: Any, **fixtures: Any) -> None:
                for row in rows:
                    try:
                        await test(*first, **fixtures, **row)
                    except BaseException as error:
                        error.add_note(f"in the case {row}")
                        raise
        else:

            @wraps(test)
            def run(*first: Any, **fixtures: Any) -> None:
                for row in rows:
                    try:
                        test(*first, **fixtures, **row)
                    except BaseException as error:
                        error.add_note(f"in the case {row}")
                        raise

        signature = inspect.signature(test)
        kept = [one for name, one in signature.parameters.items() if name not in parts]
        run.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return run

    return decorate
