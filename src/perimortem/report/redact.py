"""Documents without the secrets that ``report.secrets`` knows by name. Pure.

Frames are left alone: names of functions, modules and source files come from the program's files.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec

from perimortem.documents.base import Document
from perimortem.documents.examination import Examination, Frame
from perimortem.documents.report import Hang
from perimortem.report.examination.text import render_stacks
from perimortem.report.secrets import redact_arguments, redact_text, redact_value

_D = TypeVar("_D", bound=Document)


def redact_document(document: _D) -> _D:
    """The document with ``[redacted]`` in the place of secrets; itself, if it has none."""
    return cast(_D, _redact(document))


def _redact(value: Any, name: str = "") -> Any:
    """The same object where nothing changed. ``name``: of the field or key that holds it."""
    if type(value) is str:
        if name == "command_line":
            return redact_text(value, is_command=True)
        return redact_value(name, value) if name else redact_text(value)
    if isinstance(value, msgspec.Struct):
        return _redact_struct(value)
    if isinstance(value, list):
        if name == "command_line":
            changed = redact_arguments(value)
        else:
            changed = [_redact(item, name) for item in value]
        return changed if changed != value else value
    if isinstance(value, dict):
        pairs = {redact_text(key): _redact(item, key) for key, item in value.items()}
        return pairs if pairs != value else value
    if type(value) in (int, float) and name:  # {"password": 123456}
        text = str(value)
        shown = redact_value(name, text)
        return value if shown == text else shown
    return value


def _is_command(struct: msgspec.Struct, field: str) -> bool:
    of_dump = field == "text" and getattr(struct, "name", None) == "LinuxCmdLine"
    return field == "command_line" or of_dump


def _redact_struct(struct: msgspec.Struct) -> msgspec.Struct:
    if isinstance(struct, Frame):
        return struct
    changes = {}
    for field in struct.__struct_fields__:
        value = getattr(struct, field)
        if isinstance(value, str | list | dict | msgspec.Struct):
            redacted = _redact(value, "command_line" if _is_command(struct, field) else "")
            if redacted is not value:
                changes[field] = redacted
    if not changes:
        return struct
    struct = msgspec.structs.replace(struct, **changes)
    if isinstance(struct, Hang) and isinstance(struct.examination, Examination):
        struct = msgspec.structs.replace(struct, stacks=render_stacks(struct.examination))
    return struct
