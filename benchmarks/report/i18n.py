"""The texts of the pages in three languages, from one catalogue: words.json.

A translation is text, never markup.  Texts that a result file brings with it (notes, unknown names)
are shown as they are.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.report.numbers import format_number

LANGUAGES = {"en": "English", "zh-Hans": "简体", "zh-Hant": "繁體"}
CATALOGUE = Path(__file__).with_name("words.json")


class Translations:
    """The texts of one language."""

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        self.language = language
        self._texts = texts

    def t(self, key: str, **values: str) -> str:
        """Return the text of `key` with `values` filled in; an unknown key is a KeyError."""
        return self._texts[key].format_map(values)

    def name(self, key: str, default: str) -> str:
        """Return the text of `key`, or `default`: a file may have names without a translation."""
        return self._texts.get(key) or default

    def level(self, factor: str, level: str | float) -> str:
        """Return the text for a level of a factor: "no delay added", "100 bytes"."""
        if isinstance(level, str):
            return self.name(f"level.{factor}.{level}", level)
        return self.name(f"level.{factor}", "{value}").format_map({"value": format_number(level)})


def load_translations() -> dict[str, Translations]:
    """Return the texts of each language, in the order of the language switch."""
    texts = json.loads(CATALOGUE.read_text("utf-8"))
    return {language: Translations(language, texts[language]) for language in LANGUAGES}
