"""A report that can be given away: what names a person, a machine or a customer is removed. Pure.

Kept is what code and the system call things: verdicts, signals, times, pids, addresses, names of
programs, modules, functions and source files, of events and heartbeats. docs/secrets.md has the list.
Every text is reduced unless it is known to be such a name, so that a new field is not forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from perimortem.documents import examination as examinations
from perimortem.documents import inventory as inventories
from perimortem.documents import report as reports
from perimortem.model.fact import FactCode
from perimortem.model.reason import ReasonKind
from perimortem.report.examination.text import render_stacks
from perimortem.report.secrets import REDACTED, redact_text

REMOVED = "[removed]"
NOTE = (
    "reduced to be given away (perimortem show --share): see docs/secrets.md for what was removed"
)
_WORD_LEAST = 4
"""Shorter ones are looked for nowhere else: they would be found in every sentence."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
"""Of an event or a heartbeat, as code has it."""
_OPTION = re.compile(r"--[a-z]+(?:[-_.][a-z]+){0,7}|-[A-Za-z]")
_LABEL = re.compile(r"(?:gw)?[0-9]{1,6}")
_STATS = ("rss_bytes", "threads", "fds", "cpu_s")
_PATH = re.compile(
    r"""(?<![\w.>\]/\\-])(?:[A-Za-z]:[\\/]|~?/|\\\\)[^\s"'`<>|,;()]+"""
    r"""(?:[ ][^\s"'`<>|,;()]*[\\/][^\s"'`<>|,;()]*){0,8}"""
)
_ADDRESS = re.compile(
    r"(?<![\w.])(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4})(?![\w.])"
)
_HOME = re.compile(r"(?:/home/|/Users/|[A-Za-z]:\\Users\\)([^/\\\s]+)")
_TEXT_IN_POINTER = re.compile(r"(holds the text|reads) '[^']*(?:'(?=\w)[^']*)*'")
_HEX = re.compile(r"0x[0-9a-f]{12,16}(?![0-9a-f])")
_DUMP_TAIL = re.compile(r"-[0-9]+-[0-9]+\.[a-z]+(?:\.[a-z]+)?$")
_SPECIAL_REGIONS = re.compile(r"\[(?:heap|stack|vdso|vvar|vsyscall|vvar_vclock|uprobes)\]")


def share(
    report: reports.Report,
    examination: examinations.Examination | None = None,
    inventory: inventories.Inventory | None = None,
) -> tuple[reports.Report, examinations.Examination | None, inventories.Inventory | None]:
    """The three documents of a page, reduced; what one of them tells is looked for in all."""
    reducer = _Reducer([part for part in (report, examination, inventory) if part is not None])
    shared = reducer.reduce(report)
    shared = msgspec.structs.replace(shared, soft_errors=[*shared.soft_errors, NOTE])
    return shared, reducer.reduce(examination), reducer.reduce(inventory)


class _Reducer:
    """``reduce`` goes through a document by its types; ``_SPECIAL`` has their own rules."""

    def __init__(self, documents: list[msgspec.Struct]) -> None:
        self._modules: set[str] = set()
        words: set[str] = set()
        for document in documents:
            for struct in _walk(document):
                words.update(_list_words(struct))
                self._modules.update(_list_modules(struct))
        programs = {_base(name).lower() for name in self._modules}
        kept = sorted(
            (
                word
                for word in words
                if len(word) >= _WORD_LEAST
                and word.lower() not in programs
                and REDACTED not in word
            ),
            key=len,
            reverse=True,
        )
        self._words = kept

    def reduce(self, value: Any) -> Any:
        if type(value) is str:
            return self._text(value)
        if isinstance(value, list):
            return [self.reduce(item) for item in value]
        if isinstance(value, dict):
            return {self._text(key): self.reduce(item) for key, item in value.items()}
        if not isinstance(value, msgspec.Struct):
            return value
        rule = _SPECIAL.get(type(value))
        changes = rule(self, value) if rule is not None else {}
        for field in value.__struct_fields__:
            if field not in changes:
                changes[field] = self.reduce(getattr(value, field))
        return msgspec.structs.replace(value, **changes)

    def _text(self, text: str) -> str:
        text = redact_text(text)
        for word in self._words:
            if word in text:
                text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", REMOVED, text)
        text = _HEX.sub(_hide_text_in_hex, text)
        text = _PATH.sub(self._name_path, text)
        return _ADDRESS.sub(_remove_address, text)

    def _name_path(self, match: re.Match[str]) -> str:
        """A module's or source file's name says where; any other path may say whose."""
        path = match[0]
        end = len(path.rstrip(".:"))
        place = re.match(r"(.*?)(\+0x[0-9a-f]+|:[0-9]+|)$", path[:end])
        assert place is not None
        base = _base(place[1])
        if base and base in self._modules:
            return base + path[place.end(1) :]
        return "[path]" + path[end:]

    def host(self, _host: reports.Host) -> dict[str, Any]:
        return {"name": REMOVED, "kernel": self._text(_host.kernel), "boot_id": None}

    def sender(self, _process: reports.Process) -> dict[str, Any]:
        return {"uid": None}

    def target(self, target: reports.TargetProcess) -> dict[str, Any]:
        executable = _base(target.executable) if target.executable else None
        return {
            "name": _name_program(target.name, executable, target.command_line),
            "executable": executable,
            "command_line": _reduce_arguments(target.command_line, target.name, executable),
            "labels": _reduce_labels(target.labels),
        }

    def process(self, process: reports.TreeProcess) -> dict[str, Any]:
        return {
            "name": _name_program(process.name, None, process.command_line),
            "command_line": _reduce_arguments(process.command_line, process.name, None),
            "labels": _reduce_labels(process.labels),
        }

    def where(self, where: reports.Where) -> dict[str, Any]:
        text = _without_thread(where.text, where.thread_name or "", where.tid)
        return {
            "text": self._text(text),
            "module": where.module and _base(where.module),
            "thread_name": None,
        }

    def crash(self, crash: reports.Crash) -> dict[str, Any]:
        return {
            "module": crash.module and _base(crash.module),
            "thread_name": "",
            "text": self._text(_without_thread(crash.text, crash.thread_name, crash.tid)),
        }

    def event(self, event: reports.TraceEvent) -> dict[str, Any]:
        payload: Any = REMOVED
        if event.name == "system.stats" and isinstance(event.payload, dict):
            payload = {
                name: event.payload[name]
                for name in _STATS
                if isinstance(event.payload.get(name), int | float)
            }
        return {"name": _reduce_name(event.name), "payload": payload}

    def named(self, named: reports.Heartbeat | reports.StoppedHeartbeat) -> dict[str, Any]:
        return {"name": _reduce_name(named.name)}

    def hang(self, hang: reports.Hang) -> dict[str, Any]:
        changes: dict[str, Any] = {
            "still_beating": [_reduce_name(name) for name in hang.still_beating]
        }
        if hang.examination is not None:
            examination = self.reduce(hang.examination)
            changes |= {"examination": examination, "stacks": render_stacks(examination)}
        elif hang.stacks is not None:
            changes["stacks"] = "".join(
                self._text(line) for line in hang.stacks.splitlines(keepends=True)
            )
        return changes

    def stuck(self, thread: reports.StuckThread) -> dict[str, Any]:
        texts = {"process": self._text(thread.process), "text": self._text(thread.text)}
        return {"name": "", "place": "", **texts}

    def activity(self, _thread: reports.ThreadActivity) -> dict[str, Any]:
        return {"name": ""}

    def dump(self, dump: reports.Dump) -> dict[str, Any]:
        """Its file is called as the process called itself."""
        tail = _DUMP_TAIL.search(dump.path or "")
        return {"path": dump.path and "dump" + (tail[0] if tail else "")}

    def last_words(self, words: reports.LastWords) -> dict[str, Any]:
        """A program may print anything."""
        place = words.place and self._text(words.place)
        said = None if words.said is None else REMOVED
        return {"text": REMOVED, "source": words.source, "said": said, "place": place, "file": None}

    def evidence(self, evidence: reports.Evidence) -> dict[str, Any]:
        kept: dict[str, Any] = {"source": evidence.source}
        if evidence.code == FactCode.RULE:  # all of it is ours
            kept |= {"values": evidence.values, "fact": evidence.fact}
        return kept

    def who(self, who: reports.Who) -> dict[str, Any]:
        return {"source": who.source}

    def examination(self, examination: examinations.Examination) -> dict[str, Any]:
        return {"program": examination.program and _base(examination.program)}

    def reason(self, reason: examinations.Reason) -> dict[str, Any]:
        """What a program says as it gives up may quote anything; an assertion is its source."""
        text, facts, access = reason.text, [e.fact for e in reason.evidence], reason.access
        message = reason.message
        if message and reason.kind != ReasonKind.ASSERTION:
            text = text.replace(message, REMOVED)
            facts = [fact.replace(message, REMOVED) for fact in facts]
            message = REMOVED
        if _TEXT_IN_POINTER.search(text):  # the pointer and the address are that text
            text, access = _hide_pointer(text), None
            facts = [_hide_pointer(fact) for fact in facts]
        return {
            "text": self._text(text),
            "message": message and self._text(message),
            "access": access,
            "evidence": [
                examinations.ReasonEvidence(self._text(fact), evidence.source, evidence.confidence)
                for evidence, fact in zip(reason.evidence, facts, strict=True)
            ],
        }

    def thread(self, _thread: examinations.ThreadStack) -> dict[str, Any]:
        return {"name": ""}

    def frame(self, frame: examinations.Frame) -> dict[str, Any]:
        return {
            "function": frame.function,
            "module": frame.module,
            "trust": frame.trust,
        }

    def line(self, line: examinations.SourceLine) -> dict[str, Any]:
        return {"file": _base(line.file), "function": line.function}

    def missing(self, missing: examinations.Missing) -> dict[str, Any]:
        return {"module": _base(missing.module)}

    def module(self, module: inventories.Module) -> dict[str, Any]:
        return {"path": _base(module.path)}

    def region(self, region: inventories.Region) -> dict[str, Any]:
        return {"path": self._reduce_region(region.path)}

    def _reduce_region(self, path: str) -> str:
        if not path or _SPECIAL_REGIONS.fullmatch(path):
            return path
        if path.startswith("["):
            return "[anon]"
        return _base(path) if _base(path) in self._modules else "[file]"

    def handle(self, _handle: inventories.Handle) -> dict[str, Any]:
        return {"name": "", "details": {}}


_SPECIAL: dict[type, Callable[[_Reducer, Any], dict[str, Any]]] = {
    reports.Host: _Reducer.host,
    reports.Process: _Reducer.sender,
    reports.TargetProcess: _Reducer.target,
    reports.TreeProcess: _Reducer.process,
    reports.FirstDeath: _Reducer.process,
    reports.Where: _Reducer.where,
    reports.Crash: _Reducer.crash,
    reports.TraceEvent: _Reducer.event,
    reports.Heartbeat: _Reducer.named,
    reports.StoppedHeartbeat: _Reducer.named,
    reports.Hang: _Reducer.hang,
    reports.ThreadActivity: _Reducer.activity,
    reports.StuckThread: _Reducer.stuck,
    reports.Dump: _Reducer.dump,
    reports.Evidence: _Reducer.evidence,
    reports.LastWords: _Reducer.last_words,
    reports.Who: _Reducer.who,
    examinations.Examination: _Reducer.examination,
    examinations.Reason: _Reducer.reason,
    examinations.ThreadStack: _Reducer.thread,
    examinations.Frame: _Reducer.frame,
    examinations.SourceLine: _Reducer.line,
    examinations.Missing: _Reducer.missing,
    inventories.Module: _Reducer.module,
    inventories.Region: _Reducer.region,
    inventories.Handle: _Reducer.handle,
}


def _walk(value: Any) -> Iterator[msgspec.Struct]:
    if isinstance(value, msgspec.Struct):
        yield value
        for field in value.__struct_fields__:
            yield from _walk(getattr(value, field))
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def _list_words(struct: msgspec.Struct) -> Iterator[str]:
    """What must not be found in any text: it is personal wherever it stands."""
    if isinstance(struct, reports.Host):
        yield struct.name
        yield struct.name.split(".")[0]
    elif isinstance(struct, reports.TargetProcess | reports.TreeProcess):
        if _name_program(struct.name, None, struct.command_line) != struct.name:
            yield struct.name
        for argument in struct.command_line[1:]:
            yield from _split_argument(argument)
        for argument in struct.command_line:
            yield from _HOME.findall(argument)
        yield from (value for value in struct.labels.values() if not _LABEL.fullmatch(value))
    elif isinstance(struct, reports.Where | reports.Crash):
        if struct.thread_name:
            yield struct.thread_name
    elif isinstance(
        struct, reports.ThreadActivity | reports.StuckThread | examinations.ThreadStack
    ):
        yield struct.name
    elif isinstance(struct, reports.TraceEvent):
        if struct.name != "system.stats":
            yield from _list_strings(struct.payload)
        yield struct.name if _reduce_name(struct.name) == REMOVED else ""
    elif isinstance(struct, reports.Dump):
        yield from _HOME.findall(struct.path or "")


def _list_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _list_strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _list_strings(item)


def _split_argument(argument: str) -> Iterator[str]:
    """Its value; a number alone could be any pid or address of the report."""
    name, _, value = argument.partition("=")
    parts = (value, argument) if value and _OPTION.fullmatch(name) else (argument,)
    for part in parts:
        if not part.isdigit() and not _OPTION.fullmatch(part):
            yield part


def _list_modules(struct: msgspec.Struct) -> Iterator[str]:
    """File names that say where in the code: of programs, libraries and sources."""
    if isinstance(struct, examinations.Frame):
        yield struct.module or ""
    elif isinstance(struct, examinations.SourceLine):
        yield _base(struct.file)
    elif isinstance(struct, examinations.Examination):
        yield _base(struct.program or "")
    elif isinstance(struct, reports.TargetProcess):
        yield _base(struct.executable or "")
    elif isinstance(struct, reports.Where | reports.Crash):
        yield _base(struct.module or "")
    elif isinstance(struct, inventories.Module):
        yield _base(struct.path)


def _name_program(name: str, executable: str | None, command_line: list[str]) -> str:
    """A process may call itself anything: its name is kept if its file or command is called so."""
    files = [executable or "", *(_base(word).lstrip("-") for word in command_line[:2])]
    files += [word.partition(": ")[0] for word in command_line[:1]]  # sshd: user@pts/0
    stem = name.removesuffix(".exe")
    if any(file.startswith(stem) for file in files if file) or not any(files):
        return name
    return executable[:15] if executable else REMOVED


def _reduce_arguments(words: list[str], name: str, executable: str | None) -> list[str]:
    """The program and the names of options; every value is removed."""
    if not words:
        return []
    program = _base(words[0])
    is_known = program == executable or _name_program(program, executable, [name]) == program
    reduced = [program if is_known else REMOVED]
    for word in words[1:]:
        option, equals, _ = word.partition("=")
        if _OPTION.fullmatch(option):
            reduced.append(option + (f"={REMOVED}" if equals else ""))
        else:
            reduced.append(REMOVED)
    return reduced


def _reduce_labels(labels: dict[str, str]) -> dict[str, str]:
    """RANK=3, PYTEST_XDIST_WORKER=gw1; the name of a test may be long and say much."""
    return {name: value for name, value in labels.items() if _LABEL.fullmatch(value)}


def _reduce_name(name: str) -> str:
    if name.startswith("file:"):
        return "file"
    return name if _NAME.fullmatch(name) else REMOVED


def _remove_address(match: re.Match[str]) -> str:
    """Not ab::cd::ef, a name of C++."""
    return match[0] if match[0].count("::") > 1 or not match[0].strip(":") else REMOVED


def _without_thread(text: str, name: str, tid: int | None) -> str:
    return text.replace(f"thread {name} ({tid})", f"thread ({tid})") if name else text


def _hide_pointer(text: str) -> str:
    text = _TEXT_IN_POINTER.sub(rf"\1 {REMOVED}", text)
    return re.sub(r"0x[0-9a-f]{9,16}", REMOVED, text)


def _hide_text_in_hex(match: re.Match[str]) -> str:
    """Six to eight letters that were used as a pointer; 0x55 and 0x56 are where programs are loaded."""
    raw = int(match[0], 16).to_bytes(8, "little").rstrip(b"\0")
    is_text = len(raw) >= 6 and all(0x20 <= byte < 0x7F for byte in raw)
    if not is_text or (len(raw) == 6 and raw[-1] in (0x55, 0x56)):
        return match[0]
    return "0x0" if match[0] == match.string else REMOVED


def _base(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]
