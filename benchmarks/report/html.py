"""HTML and SVG from nested calls; text is escaped unless its type is `Markup`.

`tag("b", "<i>")` is `<b>&lt;i&gt;</b>`, and `tag("b", tag("i"))` is `<b><i></i></b>`: escaping is
the default, as in MarkupSafe.  The output is well-formed XML as well as HTML.
"""

import html

# HTML has no closing tag for these; SVG, which requires one, has no elements of these names.
VOID = {"br", "input", "link", "meta"}


class Markup(str):
    """Text that is already markup and is not escaped again."""


def escape(text: str) -> Markup:
    """Escape `text` for use in an element or an attribute; `Markup` stays as it is."""
    return text if isinstance(text, Markup) else Markup(html.escape(text))


def join(*parts: str) -> Markup:
    return Markup("".join(map(escape, parts)))


def tag(name: str, /, *inside: str, **attributes: object) -> Markup:
    """Return an element; `class_` is the attribute class, `stroke_width` is stroke-width.

    An attribute that is None is left out.
    """
    attribute_text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{attribute_text}/>")
    return Markup(f"<{name}{attribute_text}>{join(*inside)}</{name}>")
