"""The documents of `symbols check` and `symbols find` as text. Pure."""

from __future__ import annotations

from perimortem.documents.symbols import FoundFiles, ModuleSymbols, SymbolCheck, TriedPlace


def render_symbols(document: SymbolCheck, *, with_tried: bool = False) -> str:
    """What is missing comes first; ``with_tried``: with each place that was looked at."""
    modules = sorted(document.modules, key=lambda module: module.missing is None)
    complete = sum(module.missing is None for module in modules)
    lines = [f"{complete} of {len(modules)} modules have their file and their names"]
    for module in modules:
        lines += ["", *_describe(module, with_tried=with_tried)]
    return "\n".join(lines) + "\n"


def _describe(module: ModuleSymbols, *, with_tried: bool) -> list[str]:
    identity = module.build_id or module.debug_id
    lines = [f"{module.module}  {identity or 'without an identity'}"]
    if module.missing is not None:
        lines.append(f"  missing {module.missing}")
    lines.append(f"  file    {module.program or 'none'}")
    lines.append(f"  names   {module.names}")
    lines.append(f"  lines   {'yes' if module.has_lines else 'none'}")
    if with_tried:
        lines += _describe_tried(module.tried)
    return lines


def render_found(document: FoundFiles, *, with_tried: bool = False) -> str:
    """One build-id's files; ``with_tried``: with each place that was looked at."""
    lines = [
        document.build_id,
        f"  file    {document.program or 'none'}",
        f"  debug   {document.debug or 'none'}",
    ]
    if with_tried:
        lines += _describe_tried(document.tried)
    return "\n".join(lines) + "\n"


def _describe_tried(places: list[TriedPlace]) -> list[str]:
    return [f"  tried   {tried.wanted}: {tried.place}: {tried.outcome}" for tried in places]
