"""The base class of our kinds of option values.

click's own is generic from 8.4 on, and always to the type checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click import ParamType
else:

    class ParamType(click.ParamType):
        """``ParamType[T]`` converts a word of the command line to a T."""

        def __class_getitem__(cls, value_type: object) -> type[click.ParamType]:
            return cls


__all__ = ["ParamType"]
