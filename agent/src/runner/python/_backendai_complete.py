"""Completes a name or a dotted expression from the user's namespace."""

import builtins
import keyword
import re

LIMIT = 500
TOKEN = re.compile(r"[\w.]*$")


def complete(namespace, text, options):
    """Words that the word before the cursor can become, sorted."""
    token = TOKEN.search(before_cursor(text, options)).group()
    head, dot, stem = token.rpartition(".")
    names = attributes(namespace, head) if dot else words(namespace)
    found = {name for name in names if isinstance(name, str) and name.startswith(stem)}
    if not stem.startswith("_"):
        found = {name for name in found if not name.startswith("_")}
    return sorted(head + dot + name for name in found)[:LIMIT]


def before_cursor(text, options):
    line = options.get("line")
    if isinstance(line, str) and line:
        column = options.get("col")
        return line[:column] if isinstance(column, int) and column >= 0 else line
    return text.rpartition("\n")[2]


def words(namespace):
    return set(namespace) | set(dir(builtins)) | set(keyword.kwlist)


def attributes(namespace, expression):
    """Only names and attributes are looked up: completing must not call anything by itself."""
    first, *rest = expression.split(".")
    value = namespace.get(first, getattr(builtins, first, None))
    for name in rest:
        value = getattr(value, name, None)
    return dir(value) if value is not None else []
