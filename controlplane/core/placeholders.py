"""Texts with placeholders: `{name}` stands for something, and `{{name}}` for itself in single braces."""

import re
from collections.abc import Mapping

PLACEHOLDER = re.compile(r"\{\{(port:[a-z0-9_]*|[a-z_]+)\}\}|\{(port:[a-z0-9_]*|[a-z_]+)\}")


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its placeholders filled in; those that have no value are left as they are."""

    def put(found: re.Match[str]) -> str:
        literal, name = found.groups()
        return "{" + literal + "}" if literal is not None else values.get(name, found.group())

    return PLACEHOLDER.sub(put, text)


def escape(text: str) -> str:
    """Return what is this text when its placeholders are filled in, whatever it holds."""
    return re.sub(r"\{(port:[a-z0-9_]*|[a-z_]+)\}", r"{{\1}}", text)
