"""Execute the programs of call frame information: from a function's entry to its rows.

Source: DWARF 5, 6.4.2; GNU extensions: binutils' dwarf2.def; aarch64: ABI for the Arm 64-bit
Architecture, "DWARF for the Arm 64-bit Architecture", 4.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from perimortem.errors import MalformedInput
from perimortem.unwind.dwarf.encoding import read_encoded, read_sleb128, read_uleb128
from perimortem.unwind.dwarf.entries import FunctionEntry
from perimortem.unwind.dwarf.rows import CfaRule, Row, Rule, RuleKind

_STATES_MAX = 256
"""Of remember_state. Arbitrary."""
_ADVANCE, _OFFSET, _RESTORE = 1, 2, 3
"""In the two upper bits; else the lower six say what it is."""
_NO_CFA = CfaRule(-1, 0)


def iterate_rows(entry: FunctionEntry) -> Iterator[Row]:
    """Every row of the function, in order of address. Raises MalformedInput."""
    try:
        yield from _Program(entry).run()
    except (IndexError, KeyError, struct.error, TypeError) as error:
        raise MalformedInput(f"damaged frame information of {entry.start:#x}") from error


class _Program:
    def __init__(self, entry: FunctionEntry) -> None:
        self._entry = entry
        self._cfa = _NO_CFA
        self._rules: dict[int, Rule] = {}
        self._initial: dict[int, Rule] = {}
        self._is_signed = False
        self._states: list[tuple[CfaRule, dict[int, Rule], bool]] = []
        self._location = entry.start

    def run(self) -> Iterator[Row]:
        for _ in self._execute(self._entry.common.program):
            pass  # a CIE that advances: does not occur
        self._initial = dict(self._rules)
        self._location = self._entry.start
        for location in self._execute(self._entry.program):
            if location != self._location:
                yield self._make_row()
                self._location = location
        yield self._make_row()

    def _make_row(self) -> Row:
        return Row(self._location, self._cfa, dict(self._rules), self._is_signed)

    def _execute(self, program: bytes) -> Iterator[int]:
        """Yields the new location at each advance, before applying it."""
        at, end = 0, len(program)
        common = self._entry.common
        factor = common.data_alignment
        while at < end:
            code = program[at]
            at += 1
            high, low = code >> 6, code & 0x3F
            if high == _ADVANCE:
                yield self._location + low * common.code_alignment
            elif high == _OFFSET:
                value, at = read_uleb128(program, at)
                self._rules[low] = Rule(RuleKind.OFFSET, value * factor)
            elif high == _RESTORE:
                self._restore(low)
            elif code == 0x01:  # set_loc
                place = self._entry.program_address + at
                value, at = read_encoded(program, at, common.pointer_encoding, place)
                yield value
            elif code in (0x02, 0x03, 0x04):  # advance_loc1, 2, 4
                width = 1 << (code - 2)
                value = int.from_bytes(program[at : at + width], "little")
                at += width
                yield self._location + value * common.code_alignment
            else:
                at = self._execute_rule(code, program, at, factor)

    def _execute_rule(self, code: int, program: bytes, at: int, factor: int) -> int:
        """One instruction that changes the row; returns the offset of the next one."""
        if code == 0x00:  # nop
            return at
        if code == 0x0A:  # remember_state
            if len(self._states) >= _STATES_MAX:
                raise IndexError
            self._states.append((self._cfa, dict(self._rules), self._is_signed))
            return at
        if code == 0x0B:  # restore_state
            self._cfa, self._rules, self._is_signed = self._states.pop()
            return at
        if code == 0x2D:  # AARCH64_negate_ra_state
            self._is_signed = not self._is_signed
            return at
        if code in _CFA_CODES:
            return self._define_cfa(code, program, at, factor)
        if code == 0x2E:  # GNU_args_size
            return read_uleb128(program, at)[1]
        register, at = read_uleb128(program, at)
        if code == 0x06:  # restore_extended
            self._restore(register)
        elif code == 0x07:
            self._rules[register] = Rule(RuleKind.UNDEFINED)
        elif code == 0x08:  # same_value
            self._rules.pop(register, None)
        elif code == 0x09:
            value, at = read_uleb128(program, at)
            self._rules[register] = Rule(RuleKind.REGISTER, value)
        elif code in (0x10, 0x16):  # expression, val_expression
            size, at = read_uleb128(program, at)
            kind = RuleKind.EXPRESSION if code == 0x10 else RuleKind.VALUE_EXPRESSION
            self._rules[register] = Rule(kind, program[at : at + size])
            at += size
        elif code in _OFFSET_CODES:
            kind, is_signed, sign = _OFFSET_CODES[code]
            value, at = (read_sleb128 if is_signed else read_uleb128)(program, at)
            self._rules[register] = Rule(kind, sign * value * factor)
        else:
            raise KeyError(code)
        return at

    def _define_cfa(self, code: int, program: bytes, at: int, factor: int) -> int:
        if code == 0x0F:  # def_cfa_expression
            size, at = read_uleb128(program, at)
            self._cfa = CfaRule(-1, 0, program[at : at + size])
            return at + size
        register, offset = self._cfa.register, self._cfa.offset
        if code in (0x0C, 0x0D, 0x12):  # def_cfa, def_cfa_register, def_cfa_sf
            register, at = read_uleb128(program, at)
        if code in (0x0C, 0x0E):
            offset, at = read_uleb128(program, at)
        elif code in (0x12, 0x13):  # def_cfa_sf, def_cfa_offset_sf
            value, at = read_sleb128(program, at)
            offset = value * factor
        self._cfa = CfaRule(register, offset)
        return at

    def _restore(self, register: int) -> None:
        if register in self._initial:
            self._rules[register] = self._initial[register]
        else:
            self._rules.pop(register, None)


_CFA_CODES = frozenset({0x0C, 0x0D, 0x0E, 0x0F, 0x12, 0x13})
_OFFSET_CODES = {
    0x05: (RuleKind.OFFSET, False, 1),  # offset_extended
    0x11: (RuleKind.OFFSET, True, 1),
    0x14: (RuleKind.VALUE_OFFSET, False, 1),
    0x15: (RuleKind.VALUE_OFFSET, True, 1),
    0x2F: (RuleKind.OFFSET, False, -1),  # GNU_negative_offset_extended
}
