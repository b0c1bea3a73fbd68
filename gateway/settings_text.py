"""Settings as plain text and back, for a process that is told them by another.

The values travel, not the file: a worker that is replaced next week gets what the gateway was
started with, whatever has become of gw.ini, the working directory and the environment since.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from gateway.settings import SECTIONS, Settings
from gateway.settings_fields import Secret

Texts = Mapping[str, Mapping[str, str]]
"""Section → key → text."""


def to_text(settings: Settings) -> Texts:
    """Write *settings* as text. Secrets are left out: who only serves needs none."""
    return {
        name: {
            one.name: _text(value)
            for one in attrs.fields(kind)
            if not isinstance(value := getattr(getattr(settings, name), one.name), Secret)
        }
        for name, kind in SECTIONS.items()
    }


def from_text(texts: Texts) -> Settings:
    """
    Read what ``to_text`` wrote. What is missing has its default; a key nobody knows is passed over.

    Values were checked where they came from. Whether files are still what they were then is not
    looked at again.

    Raises:
        ValueError: a text is not one of ``to_text``.
    """
    sections = {}
    data_dir = texts.get("gateway", {}).get("data_dir", "var")
    for name, kind in SECTIONS.items():
        given = texts.get(name, {})
        sections[name] = kind(**{one.name: _value(one, given, data_dir) for one in attrs.fields(kind)})
    return Settings(**sections)


def _value(one: attrs.Attribute[Any], given: Mapping[str, str], data_dir: str) -> Any:
    text: str | None = given.get(one.name)
    if text is None:
        text = one.metadata["default"]
        text = one.metadata["stands_for"].get(text, text).replace("{data_dir}", data_dir)
    return one.metadata["read"](text)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.9f}"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return str(value)
