"""What the pages say, in three languages, from one catalogue: words.json.

A translation is text, never markup.  What a result file says in words of its own (notes, names)
stays as it is.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.report.axes import number

LANGUAGES = {"en": "English", "zh-Hans": "简体", "zh-Hant": "繁體"}
CATALOGUE = Path(__file__).with_name("words.json")


class Words:
    """The words of one language."""

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        self.language = language
        self._texts = texts

    def say(self, key: str, **values: str) -> str:
        """Return the sentence `key` with `values` filled in; an unknown key is a KeyError."""
        return self._texts[key].format_map(values)

    def name(self, key: str, otherwise: str) -> str:
        """Return the name for `key`, or `otherwise`: files may know more than we do."""
        return self._texts.get(key) or otherwise

    def level(self, factor: str, level: str | float) -> str:
        """Say which level of a factor is meant: "no delay added", "100 bytes"."""
        if isinstance(level, str):
            return self.name(f"level.{factor}.{level}", level)
        return self.name(f"level.{factor}", "{value}").format_map({"value": number(level)})


def catalogue() -> dict[str, Words]:
    """Return the words of each language, in the order of the switch."""
    texts = json.loads(CATALOGUE.read_text("utf-8"))
    return {language: Words(language, texts[language]) for language in LANGUAGES}
