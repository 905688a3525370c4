"""A self-contained page: one file in three languages, with its style and a few lines of script.

The page fetches nothing.  Its Content-Security-Policy enforces that: the browser runs only the
style and the script whose hashes are in the policy.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from benchmarks.report.html import Markup, tag
from benchmarks.report.i18n import LANGUAGES, Translations
from benchmarks.report.svg import STYLE

HERE = Path(__file__).parent


def page(bodies: Mapping[str, Markup], translations: Mapping[str, Translations], title: str) -> str:
    """Return the HTML of a page; `bodies` has its content by language, `title` is a text key."""
    style = Markup((HERE / "report.css").read_text("utf-8") + STYLE)
    script = Markup((HERE / "report.js").read_text("utf-8"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", translations["en"].t(title)),
        # Without a link element, browsers request /favicon.ico.
        tag("link", rel="icon", href="data:,"),
        tag("style", style),
    )
    articles = [
        tag("article", tag("h1", translations[language].t(title)), body, lang=language)
        for language, body in bodies.items()
    ]
    body = tag("body", _switch(translations), tag("main", *articles), tag("script", script))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _switch(translations: Mapping[str, Translations]) -> Markup:
    """Return one radio button per language; CSS alone switches, with or without the script."""
    name = " / ".join(translations[language].t("language") for language in LANGUAGES)
    choices = [
        tag(
            "label",
            tag(
                "input",
                type="radio",
                name="language",
                id=f"to-{language}",
                value=language,
                checked="" if language == "en" else None,
                # Without this, a reload restores the old choice and contradicts the script.
                autocomplete="off",
            ),
            tag("span", own, lang=language),
        )
        for language, own in LANGUAGES.items()
    ]
    return tag("header", tag("fieldset", *choices, aria_label=name), class_="switch")


def facts(pairs: Mapping[str, str], css: str) -> Markup:
    """Return names and values as a description list."""
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs.items()]
    return tag("dl", *rows, class_=css)


def table(head: Markup, rows: list[Markup], label: str) -> Markup:
    """Return a table that scrolls on a narrow screen."""
    inside = tag("table", tag("thead", head), tag("tbody", *rows))
    return tag("div", inside, class_="scroll", role="region", tabindex="0", aria_label=label)


def figure(drawing: Markup, caption: str) -> Markup:
    scroll = tag("div", drawing, class_="scroll", role="region", tabindex="0", aria_label=caption)
    return tag("figure", scroll, tag("figcaption", caption))


def warning(heading: str, *lines: str, css: str = "warning alarm") -> Markup:
    return tag("div", tag("h3", heading), *(tag("p", line) for line in lines), class_=css)


def transport_label(name: str) -> Markup:
    """Return the name of a transport, preceded by its colour."""
    return tag("span", name, class_="transport", data_transport=name)


def write(files: Mapping[Path, str]) -> None:
    """Write all files, each atomically: a reader never sees half a page."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(text, "utf-8")
        os.replace(part, path)
