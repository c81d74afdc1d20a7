"""What exit codes mean."""

from __future__ import annotations

from perimortem.exits.decode import Explanation, explain_code


def explain(code: int | str, subcode: int | str | None = None) -> Explanation:
    """What an exit code, a signal or a Windows status means: 139, -11, "SIGBUS", 0xC0000409.

    ``subcode``: the fast-fail code of 0xC0000409. Raises PerimortemError for anything else.

    >>> perimortem.explain(137).name
    'SIGKILL'
    """
    return explain_code(str(code), None if subcode is None else str(subcode))
