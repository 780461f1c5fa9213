"""Shows values: by their rich forms where they have one, else by ``repr``."""

import base64
import builtins
import sys


def display_hook(console):
    """The ``sys.displayhook`` of the kernel: the last expression of a run ends here."""

    def hook(value):
        if value is None:
            return
        builtins._ = None
        show(console, value)
        builtins._ = value

    return hook


def display_function(console):
    """``display(value, …)`` of the user's namespace."""

    def display(*values):
        for value in values:
            show(console, value)

    return display


def show(console, value):
    for method, emit in FORMS:
        form = rich_form(value, method)
        if form is not None:
            return emit(console, form)
    sys.stdout.write(repr(value) + "\n")


def rich_form(value, method):
    """The form, or None where the value (or its class, which has no rich form itself) has none."""
    if isinstance(value, type):
        return None
    try:
        form = getattr(value, method, None)
        form = form() if callable(form) else None
    except Exception:
        return None
    return form[0] if isinstance(form, tuple) and form else form


def emit_html(console, form):
    console.rich("html", clean(form))


def emit_svg(console, form):
    console.rich("media", ["image/svg+xml", clean(form)])


def emit_image(mime):
    def emit(console, form):
        data = form if isinstance(form, str) else base64.b64encode(bytes(form)).decode("ascii")
        console.rich("media", [mime, clean(data)])

    return emit


def clean(text):
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


FORMS = [
    ("_repr_html_", emit_html),
    ("_repr_svg_", emit_svg),
    ("_repr_png_", emit_image("image/png")),
    ("_repr_jpeg_", emit_image("image/jpeg")),
]
