"""Unwinding by the STACK records of a Breakpad symbol file: STACK CFI, and STACK WIN of x86 Windows.

Addresses are relative to the module's base. Source: docs/symbol_files.md of Breakpad; for the variables
of a STACK WIN program its windows_frame_info.h and stackwalker_x86.cc. Records that make no sense are
skipped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from perimortem.errors import MalformedInput
from perimortem.unwind.frame_data import ReadWord, Step
from perimortem.unwind.machine import Machine

CALLEE_ARGUMENTS = -1
"""In the registers of a caller: how many bytes of arguments the function called has on the stack."""
_FPO, _PROGRAM = 0, 4
"""Types of a STACK WIN record: only numbers, or a program."""
_KEPT_BY_PROGRAM = ("$ebx", "$esi", "$edi", "$ebp")
_TOKENS_MAX = 1000
_SAVED_POINTER = 8
"""The saved ebp of a function that has used it for something else is below the other registers."""


@dataclass
class _Cfi:
    start: int
    end: int
    rules: str
    later: list[tuple[int, str]] = field(default_factory=list)
    """What changes from an address on."""


@dataclass(frozen=True)
class _Win:
    start: int
    end: int
    argument_bytes: int
    saved_bytes: int
    local_bytes: int
    program: str | None
    allocates_base_pointer: bool


class StackRecords:
    """The functions of one symbol file, for one machine."""

    def __init__(self, records: Iterable[str], machine: Machine) -> None:
        """``records``: lines without their first word, "STACK"."""
        self._machine = machine
        self._numbers = machine.numbers | {"fp": machine.fp}
        if machine.link is not None:
            self._numbers["lr"] = machine.link
        self._mask = (1 << 8 * machine.word_bytes) - 1
        self._cfi: list[_Cfi] = []
        programs: list[_Win] = []
        others: list[_Win] = []
        for record in records:
            try:
                self._take(record, programs, others)
            except (ValueError, IndexError):
                continue
        self._cfi.sort(key=lambda cfi: cfi.start)
        self._cfi_starts = [cfi.start for cfi in self._cfi]
        self._win = [sorted(found, key=lambda win: win.start) for found in (programs, others)]
        self._win_starts = [[win.start for win in found] for found in self._win]

    def __bool__(self) -> bool:
        return bool(self._cfi or any(self._win))

    def _take(self, record: str, programs: list[_Win], others: list[_Win]) -> None:
        kind, rest = record.split(maxsplit=1)
        if kind == "CFI":
            start, rules = rest.split(maxsplit=1)
            if start == "INIT":
                start, length, rules = rules.split(maxsplit=2)
                begin = int(start, 16)
                self._cfi.append(_Cfi(begin, begin + int(length, 16), rules))
            else:
                self._cfi[-1].later.append((int(start, 16), rules))
        elif kind == "WIN":
            words = rest.split(maxsplit=10)
            numbers = [int(word, 16) for word in words[:9]]
            kind_of_win, at, size, _, _, arguments, saved, local, _ = numbers
            has_program = words[9] == "1"
            win = _Win(
                at,
                at + size,
                arguments,
                saved,
                local,
                words[10] if has_program else None,
                allocates_base_pointer=not has_program and words[10].strip() == "1",
            )
            if kind_of_win == _PROGRAM and has_program:
                programs.append(win)
            elif kind_of_win == _FPO and not has_program:
                others.append(win)

    def unwind(self, address: int, registers: dict[int, int], read_word: ReadWord) -> Step:
        """See :class:`FrameData`."""
        index = bisect_right(self._cfi_starts, address) - 1
        if index >= 0 and address < self._cfi[index].end:
            return self._step_by_cfi(self._cfi[index], address, registers, read_word)
        win = self._find_win(address)
        if win is None or self._machine.word_bytes != 4:
            raise LookupError(address)
        if win.program is not None:
            return self._step_by_program(win, win.program, registers, read_word)
        return self._step_by_sizes(win, registers, read_word)

    def _find_win(self, address: int) -> _Win | None:
        for found, starts in zip(self._win, self._win_starts, strict=True):
            index = bisect_right(starts, address) - 1
            # Records nest: that of a function, and those of its parts, which start later.
            for win in reversed(found[max(0, index - 8) : index + 1]):
                if address < win.end:
                    return win
        return None

    def _step_by_cfi(
        self, cfi: _Cfi, address: int, registers: dict[int, int], read_word: ReadWord
    ) -> Step:
        rules = dict(_split_rules(cfi.rules))
        for at, changed in cfi.later:
            if at > address:
                break
            rules.update(_split_rules(changed))
        machine = self._machine
        known = {name: registers[n] for name, n in self._numbers.items() if n in registers}
        try:
            cfa = self._evaluate(rules.pop(".cfa").split(), known, read_word)
            known[".cfa"] = cfa
            ra_rule = rules.pop(".ra").split()
        except KeyError as error:
            raise MalformedInput("a STACK CFI record without .cfa or .ra") from error
        address = 0 if ra_rule == [".undef"] else self._evaluate(ra_rule, known, read_word)
        caller = {**registers, machine.sp: cfa}
        for name, expression in rules.items():
            number = self._numbers.get(name.lstrip("$"))
            if number is None:
                continue
            if expression.strip() == ".undef":
                caller.pop(number, None)
            else:
                caller[number] = self._evaluate(expression.split(), known, read_word)
        caller.pop(CALLEE_ARGUMENTS, None)
        return Step(caller, address & machine.address_mask)

    def _evaluate(self, tokens: list[str], known: Mapping[str, int], read_word: ReadWord) -> int:
        """Of a postfix expression."""
        stack: list[int] = []
        try:
            for token in tokens[:_TOKENS_MAX]:
                if token == "^":
                    stack.append(read_word(stack.pop()))
                elif token in _OPERATORS:
                    second = stack.pop()
                    stack.append(_OPERATORS[token](stack.pop(), second) & self._mask)
                else:
                    stack.append(_read_value(token, known) & self._mask)
            (value,) = stack
        except (ValueError, ZeroDivisionError, IndexError) as error:
            raise MalformedInput("a damaged STACK record") from error
        return value

    def _step_by_program(
        self, win: _Win, program: str, registers: dict[int, int], read_word: ReadWord
    ) -> Step:
        variables = self._list_variables(win, registers, aligns="@" in program)
        stack: list[str | int] = []
        try:
            # Old compilers left out the space after the sign.
            for token in program.replace("=", " = ").split()[:_TOKENS_MAX]:
                if token == "=":
                    value, name = _take_value(stack, variables), stack.pop()
                    if not isinstance(name, str) or not name.startswith("$"):
                        raise ValueError(name)
                    variables[name] = value
                elif token == "^":
                    stack.append(read_word(_take_value(stack, variables)))
                elif token in _OPERATORS:
                    second = _take_value(stack, variables)
                    first = _take_value(stack, variables)
                    stack.append(_OPERATORS[token](first, second) & self._mask)
                else:
                    stack.append(token)
            caller = {
                self._machine.numbers[name[1:]]: variables[name]
                for name in (*_KEPT_BY_PROGRAM, "$esp")
                if name in variables
            }
            if variables["$esp"] == registers[self._machine.sp]:
                raise ValueError(program)
            address = variables["$eip"]
        except (ValueError, ZeroDivisionError, IndexError, KeyError) as error:
            raise MalformedInput("a damaged STACK WIN record") from error
        return Step(caller | {CALLEE_ARGUMENTS: win.argument_bytes}, address, is_sure=False)

    def _list_variables(
        self, win: _Win, registers: dict[int, int], *, aligns: bool
    ) -> dict[str, int]:
        machine = self._machine
        below = registers.get(CALLEE_ARGUMENTS, 0)
        start = registers[machine.sp] + below + win.local_bytes + win.saved_bytes
        if aligns:  # the distance between esp and the return address is not constant
            start = registers[machine.fp] + machine.word_bytes
        known = {f"${name}": machine.numbers[name] for name in ("esp", "ebp", "ebx", "esi", "edi")}
        return {name: registers[n] for name, n in known.items() if n in registers} | {
            ".raSearch": start & self._mask,
            ".raSearchStart": start & self._mask,
            ".cbParams": win.argument_bytes,
            ".cbCalleeParams": below,
            ".cbSavedRegs": win.saved_bytes,
            ".cbLocals": win.local_bytes,
        }

    def _step_by_sizes(self, win: _Win, registers: dict[int, int], read_word: ReadWord) -> Step:
        machine = self._machine
        stack_pointer = registers[machine.sp]
        below = registers.get(CALLEE_ARGUMENTS, 0)
        place = stack_pointer + below + win.local_bytes + win.saved_bytes
        found = read_word(place)
        if CALLEE_ARGUMENTS not in registers and found == registers.get(machine.pc):
            place += machine.word_bytes  # a system call: its own return address is still there
            found = read_word(place)
        caller = {
            machine.sp: place + machine.word_bytes & self._mask,
            CALLEE_ARGUMENTS: win.argument_bytes,
        }
        if win.allocates_base_pointer:
            caller[machine.fp] = read_word(stack_pointer + below + win.saved_bytes - _SAVED_POINTER)
        else:
            kept = (machine.fp, machine.numbers["ebx"])
            caller |= {number: registers[number] for number in kept if number in registers}
        return Step(caller, found, is_sure=False)


_OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "@": lambda a, b: a // b * b,
}


def _split_rules(text: str) -> list[tuple[str, str]]:
    """("$esp", ".cfa 4 +") of each "name: expression"."""
    found: list[tuple[str, str]] = []
    for token in text.split():
        if token.endswith(":"):
            found.append((token[:-1], ""))
        elif found:
            name, expression = found[-1]
            found[-1] = name, f"{expression} {token}"
    return found


def _read_value(token: str, known: Mapping[str, int]) -> int:
    """Raises ValueError, or LookupError for a register that is not known."""
    if token == ".cfa" or token.startswith("$") or token[:1].isalpha():
        return known[token.lstrip("$")]
    return int(token, 10)


def _take_value(stack: list[str | int], variables: Mapping[str, int]) -> int:
    token = stack.pop()
    if isinstance(token, int):
        return token
    return variables[token] if token[:1] in "$." else int(token, 10)
