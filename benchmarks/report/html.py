"""HTML and SVG from nested calls, where text is escaped unless it is known to be markup.

`tag("b", "<i>")` is `<b>&lt;i&gt;</b>`, and `tag("b", tag("i"))` is `<b><i></i></b>`: whoever
forgets to think of escaping has escaped.  What comes out is well-formed XML as well as HTML.
"""

import html

# HTML has no closing tag for these; in SVG, which wants one, none of them exists.
VOID = {"br", "input", "link", "meta"}


class Markup(str):
    """Text that may stand in a page as it is."""


def escape(text: str) -> Markup:
    """Return `text` so that it stays text, in an element and in an attribute."""
    return text if isinstance(text, Markup) else Markup(html.escape(text))


def join(*parts: str) -> Markup:
    return Markup("".join(map(escape, parts)))


def tag(name: str, /, *inside: str, **attributes: object) -> Markup:
    """Return an element; `class_` is the attribute class, `stroke_width` is stroke-width.

    An attribute that is None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(*inside)}</{name}>")
