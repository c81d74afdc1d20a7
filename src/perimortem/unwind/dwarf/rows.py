"""The call frame information for one place in the code: where to find the caller's registers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class RuleKind(IntEnum):
    """How a register of the caller is found (DWARF 5, 6.4.1). ``value`` in brackets."""

    OFFSET = 0
    """In memory at CFA + [offset]."""
    VALUE_OFFSET = 1
    """It is CFA + [offset]."""
    REGISTER = 2
    """In [register]."""
    EXPRESSION = 3
    """In memory where [expression] says."""
    VALUE_EXPRESSION = 4
    """It is what [expression] says."""
    UNDEFINED = 5
    """It is lost; for the return address: there is no caller."""


class Rule(NamedTuple):
    """For one register. A register without a rule has the same value in the caller."""

    kind: RuleKind
    value: int | bytes = 0


class CfaRule(NamedTuple):
    """The canonical frame address: ``register`` + ``offset``, or an ``expression``."""

    register: int
    offset: int
    expression: bytes | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """From ``start`` on, up to the next row of its function."""

    start: int
    cfa: CfaRule
    rules: dict[int, Rule]
    is_address_signed: bool = False
    """aarch64: the return address holds a signature in its upper bits (pointer authentication)."""
