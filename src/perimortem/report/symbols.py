"""The document of `symbols check` as text. Pure."""

from __future__ import annotations

from perimortem.documents.symbols import ModuleSymbols, SymbolCheck


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
        lines += [f"  tried   {t.wanted}: {t.place}: {t.outcome}" for t in module.tried]
    return lines
