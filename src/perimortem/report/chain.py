"""Chains of reporters, as a JSON document and as text. Pure."""

from __future__ import annotations

from perimortem.documents import chain as documents
from perimortem.model.chain import Chains, FirstFault, ListedProcess
from perimortem.text import printable

_SHOWN = 6
"""Entries shown at the beginning of a long chain; half as many at its end."""
_FAULTS_SHOWN = 10


def render_chains(chains: Chains) -> documents.Chains:
    return documents.Chains(
        schema_version=1,
        process_count=len(chains.processes),
        link_count=len(chains.links),
        first_faults=[
            documents.FirstFault(
                pid=fault.pid,
                process=None if fault.process is None else _render_process(fault.process),
                count=fault.count,
                depth=fault.depth,
                chain=list(fault.chain),
            )
            for fault in chains.first_faults
        ],
        links=[
            documents.Link(
                pid=link.pid,
                cause_pid=link.cause_pid,
                relation=link.relation,
                confidence=link.confidence,
                text=printable(link.words),
            )
            for link in chains.links
        ],
        notes=[printable(note) for note in chains.notes],
        advice=[printable(line) for line in chains.advice],
    )


def _render_process(process: ListedProcess) -> documents.ListedProcess:
    return documents.ListedProcess(
        pid=process.pid,
        parent_pid=process.parent_pid,
        name=printable(process.name),
        command_line=printable(process.command_line),
    )


def render_chains_text(chains: Chains) -> str:
    """The first faults, each with its chain; what is missing; what to do next."""
    count = len(chains.processes)
    if not chains.first_faults:
        lines = [f"no chain: none of {count:,} processes exists because another one crashed"]
    else:
        lines = []
    for fault in chains.first_faults[:_FAULTS_SHOWN]:
        lines += _render_fault(chains, fault)
        lines.append("")
    more = len(chains.first_faults) - _FAULTS_SHOWN
    if more > 0:
        lines += [f"{more:,} more first faults: use --json to list all", ""]
    lines += [f"  missing {printable(note)}" for note in chains.notes]
    lines += [f"  next    {printable(line)}" for line in chains.advice]
    return "\n".join(lines).rstrip("\n") + "\n"


def _render_fault(chains: Chains, fault: FirstFault) -> list[str]:
    depth = f", {fault.depth:,} deep" if fault.depth > 1 else ""
    lines = [f"first fault: {_name(chains, fault.pid)}; {fault.count:,} followed{depth}"]
    relations = {link.pid: link for link in chains.links}
    chain = list(fault.chain)
    for index, pid in enumerate(chain):
        is_left_out = _SHOWN <= index < len(chain) - _SHOWN // 2
        if is_left_out:
            if index == _SHOWN:
                left_out = len(chain) - _SHOWN - _SHOWN // 2
                lines.append(
                    f"  {'  ' * _SHOWN}... {left_out:,} more, each because of the one above"
                )
            continue
        link = relations.get(pid)
        how = f"  [{link.confidence.value}: {link.relation}]" if link is not None else ""
        indent = "  " * (index if index < _SHOWN else _SHOWN + index - len(chain) + _SHOWN // 2 + 1)
        lines.append(f"  {indent}{_name(chains, pid)}{how}")
    return lines


def _name(chains: Chains, pid: int) -> str:
    process = chains.processes.get(pid)
    number = f"{pid}" if pid < 10 else f"{pid} ({pid:#x})"
    return (
        f"{printable(process.name)} {number}"
        if process is not None
        else f"process {number}, not listed"
    )
