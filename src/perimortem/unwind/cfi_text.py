"""DWARF frame information as STACK CFI records of Breakpad's symbol files. Pure.

Rules that such a record cannot express are left out with their row.
"""

from __future__ import annotations

from collections.abc import Iterator

from perimortem.binary.elf_image import ElfImage
from perimortem.errors import MalformedInput
from perimortem.unwind.dwarf.entries import FunctionEntry
from perimortem.unwind.dwarf.program import iterate_rows
from perimortem.unwind.dwarf.rows import Row, RuleKind
from perimortem.unwind.dwarf.table import UnwindTable
from perimortem.unwind.machine import Machine


def list_stack_cfi(image: ElfImage, machine: Machine) -> Iterator[str]:
    """In order of address, which is relative to the image's base."""
    names = {number: name for name, number in machine.numbers.items()}
    entries = image.derive(UnwindTable).list_entries()
    for entry in sorted(entries, key=lambda entry: entry.start):
        try:
            rows = list(iterate_rows(entry))
        except MalformedInput:
            continue
        yield from _describe(image, machine, names, entry, rows)


def _describe(
    image: ElfImage, machine: Machine, names: dict[int, str], entry: FunctionEntry, rows: list[Row]
) -> Iterator[str]:
    start = entry.start - image.preferred_base
    known: dict[str, str] = {}
    for index, row in enumerate(rows):
        rules = _list_rules(machine, names, entry, row)
        if rules is None:
            if not index:
                return
            continue
        changed = {name: rule for name, rule in rules.items() if known.get(name) != rule}
        text = " ".join(f"{name}: {rule}" for name, rule in changed.items())
        known = rules
        if not index:
            yield f"STACK CFI INIT {start:x} {entry.end - entry.start:x} {text}"
        elif changed:
            yield f"STACK CFI {row.start - image.preferred_base:x} {text}"


def _list_rules(
    machine: Machine, names: dict[int, str], entry: FunctionEntry, row: Row
) -> dict[str, str] | None:
    """None if a rule cannot be expressed."""
    prefix = "$" if machine.link is None else ""
    if row.cfa.expression is not None or row.cfa.register not in names:
        return None
    rules = {".cfa": f"{prefix}{names[row.cfa.register]} {row.cfa.offset} +"}
    returned = entry.common.return_register
    if machine.link is not None:
        rules[".ra"] = f"{names[machine.link]}"
    for number, rule in row.rules.items():
        name = ".ra" if number == returned else prefix + names.get(number, "")
        if name == prefix:
            continue
        if rule.kind in (RuleKind.OFFSET, RuleKind.VALUE_OFFSET):
            assert isinstance(rule.value, int)  # bytes are expressions
            there = f".cfa {rule.value} +"
            rules[name] = f"{there} ^" if rule.kind is RuleKind.OFFSET else there
        elif rule.kind is RuleKind.UNDEFINED and name == ".ra":
            rules[name] = ".undef"
        elif rule.kind is not RuleKind.UNDEFINED:
            return None
    return rules
