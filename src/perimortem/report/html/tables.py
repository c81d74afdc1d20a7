"""Modules, the memory map, descriptors. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from perimortem.documents.inventory import Inventory, Module
from perimortem.report.html.element import Markup, element, join
from perimortem.report.units import format_size


def render_inventory_tables(inventory: Inventory, missing: dict[str, str]) -> Markup:
    """``missing``: by module, what was not found."""
    return join(
        _render_modules(inventory.modules, missing),
        _render_memory(inventory),
        _render_handles(inventory),
    )


def _render_modules(modules: list[Module], missing: dict[str, str]) -> Markup:
    rows = (
        (
            module.path.replace("\\", "/").rsplit("/", 1)[-1],
            module.base,
            format_size(module.size_bytes),
            (module.build_id or "")[:40],
            "incomplete" if module.path in missing else "",
        )
        for module in modules
    )
    head = ("module", "base", "size", "build-id", "names")
    return _section("modules", f"Modules ({len(modules)})", _table(head, rows))


def _render_memory(inventory: Inventory) -> Markup:
    kinds = [kind for kind in inventory.kinds if kind.kind != "reserved"]
    total = sum(kind.size_bytes for kind in kinds) or 1
    bar = element(
        "div",
        (
            element(
                "i",
                class_=f"kind{index % 6}",
                style=f"width:{100 * kind.size_bytes / total:.2f}%",
                title=f"{kind.kind}: {format_size(kind.size_bytes)}",
            )
            for index, kind in enumerate(kinds)
        ),
        class_="bar",
        role="img",
        aria_label="address space by kind",
    )
    legend = element(
        "p",
        (
            join(
                element("i", class_=f"key kind{index % 6}"),
                f" {kind.kind} {format_size(kind.size_bytes)} ",
            )
            for index, kind in enumerate(kinds)
        ),
        class_="legend",
    )
    rows = (
        (
            region.start,
            format_size(region.size_bytes),
            region.rights + ("s" if region.shared else "p"),
            region.path,
        )
        for region in inventory.regions
    )
    title = f"Memory map ({inventory.region_count} mappings)"
    table = _table(("start", "size", "rights", "what"), rows)
    return element("section", element("h2", title), bar, legend, _fold(table), id="memory")


def _render_handles(inventory: Inventory) -> Markup | None:
    if inventory.handles is None:
        return None
    rows = (
        (
            str(handle.number),
            handle.type,
            handle.name,
            ", ".join(f"{key} {value}" for key, value in handle.details.items()),
        )
        for handle in inventory.handles
    )
    title = f"Handles ({inventory.handle_count})"
    return _section("handles", title, _table(("number", "type", "name", "details"), rows))


def _section(name: str, title: str, table: Markup) -> Markup:
    return element("section", element("h2", title), _fold(table), id=name)


def _fold(table: Markup) -> Markup:
    return element("details", element("summary", "Show the table"), table)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Markup:
    return element(
        "div",
        element(
            "table",
            element("thead", element("tr", (element("th", cell, scope="col") for cell in head))),
            element(
                "tbody",
                (element("tr", (element("td", cell) for cell in row)) for row in rows),
            ),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label="table",
    )
