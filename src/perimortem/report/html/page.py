"""The whole page. Pure, except that its style and script are read from files beside it."""

from __future__ import annotations

from importlib import resources

from perimortem.documents.examination import Examination
from perimortem.documents.inventory import Inventory
from perimortem.documents.report import Report
from perimortem.report.html.element import Markup, element, join
from perimortem.report.html.lock_graph import render_lock_graph
from perimortem.report.html.summary import render_header, render_summary
from perimortem.report.html.tables import render_inventory_tables
from perimortem.report.html.threads import render_evidence, render_missing, render_threads
from perimortem.report.html.timeline import render_timeline

_SECTIONS = (
    ("summary", "Summary"),
    ("timeline", "Timeline"),
    ("locks", "Locks"),
    ("threads", "Threads"),
    ("evidence", "Evidence"),
    ("modules", "Modules"),
    ("memory", "Memory"),
    ("handles", "Handles"),
    ("missing", "Not found"),
)
_KEYS = "/ filter · j k next and previous thread · o open or close · t theme"


def render_page(
    report: Report | None,
    examination: Examination | None,
    inventory: Inventory | None,
) -> str:
    """``report`` and ``examination`` follow their schemas in docs; at least one of the two is given."""
    missing = {m.module: m.text for m in examination.missing} if examination else {}
    parts = [
        render_summary(report, examination),
        render_timeline(report) if report is not None else None,
        render_lock_graph(report, examination),
        render_threads(examination) if examination is not None else _render_stacks(report),
        render_evidence(report, examination),
        render_inventory_tables(inventory, missing) if inventory is not None else None,
        render_missing(examination) if examination is not None else None,
    ]
    body = join(part for part in parts if part is not None)
    links = (
        element("a", title, href=f"#{name}") for name, title in _SECTIONS if f'id="{name}"' in body
    )
    return "<!doctype html>\n" + element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", _title(report, examination)),
            element("style", Markup(_read_asset("style.css"))),
        ),
        element(
            "body",
            render_header(report, examination),
            element("nav", links, aria_label="Sections"),
            element("main", body),
            element("footer", element("p", _KEYS), element("p", "perimortem")),
            element("script", Markup(_read_asset("page.js"))),
        ),
        lang="en",
    )


def _title(report: Report | None, examination: Examination | None) -> str:
    if report is not None:
        number = f"{report.id}: " if report.id is not None else ""
        return f"{number}{report.verdict} of {report.target.name}"
    assert examination is not None
    return f"{examination.program or 'a process'}[{examination.pid}]"


def _render_stacks(report: Report | None) -> Markup | None:
    """For hangs whose dump is gone, the text that was kept."""
    texts = [hang.stacks for hang in report.hangs if hang.stacks] if report else []
    if not texts:
        return None
    return element(
        "section",
        element("h2", "Threads"),
        (element("pre", text, class_="scroll", tabindex="0") for text in texts),
        id="threads",
    )


def _read_asset(name: str) -> str:
    return resources.files("perimortem.report.html").joinpath("assets", name).read_text("utf-8")
