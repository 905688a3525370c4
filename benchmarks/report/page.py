"""A page of its own: one file in three languages, with its style and its few lines of script.

Nothing is fetched, and a policy in its head sees to it: what is not written here by us, by its
hash, no browser loads or runs.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from benchmarks.report.html import Markup, tag
from benchmarks.report.i18n import LANGUAGES, Words
from benchmarks.report.svg import STYLE

HERE = Path(__file__).parent


def page(bodies: Mapping[str, Markup], words: Mapping[str, Words], title: str) -> str:
    """Return the HTML of a page whose content is given in each language; `title` is a key."""
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
        tag("title", words["en"].say(title)),
        # Without it, a browser asks the server for one.
        tag("link", rel="icon", href="data:,"),
        tag("style", style),
    )
    articles = [
        tag("article", tag("h1", words[language].say(title)), body, lang=language)
        for language, body in bodies.items()
    ]
    body = tag("body", _switch(words), tag("main", *articles), tag("script", script))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _switch(words: Mapping[str, Words]) -> Markup:
    """One radio button per language: the style alone does the rest, with or without the script."""
    name = " / ".join(words[language].say("language") for language in LANGUAGES)
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
                # Else a reloaded page would show what was chosen before, against its script.
                autocomplete="off",
            ),
            tag("span", own, lang=language),
        )
        for language, own in LANGUAGES.items()
    ]
    return tag("header", tag("fieldset", *choices, aria_label=name), class_="switch")


def facts(pairs: Mapping[str, str], look: str) -> Markup:
    """Return names and values as a list."""
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs.items()]
    return tag("dl", *rows, class_=look)


def table(head: Markup, rows: list[Markup], label: str) -> Markup:
    """Return a table that scrolls on a narrow screen."""
    inside = tag("table", tag("thead", head), tag("tbody", *rows))
    return tag("div", inside, class_="scroll", role="region", tabindex="0", aria_label=label)


def figure(drawing: Markup, caption: str) -> Markup:
    scroll = tag("div", drawing, class_="scroll", role="region", tabindex="0", aria_label=caption)
    return tag("figure", scroll, tag("figcaption", caption))


def warning(heading: str, *lines: str, look: str = "warning alarm") -> Markup:
    return tag("div", tag("h3", heading), *(tag("p", line) for line in lines), class_=look)


def way(name: str) -> Markup:
    """Return the name of a transport, with its colour before it."""
    return tag("span", name, class_="way", data_way=name)


def write(files: Mapping[Path, str]) -> None:
    """Write all files, each whole or not at all: a reader never sees half a page."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".part")
        draft.write_text(text, "utf-8")
        os.replace(draft, path)
