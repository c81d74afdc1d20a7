"""TokenStream: the identity of the process. Windows has a TOKEN_* record there; ours is JSON."""

from __future__ import annotations

import json

from perimortem.minidump.format import StreamType, TokenInfo, TokenListHeader
from perimortem.minidump.streams.writing import DumpPlan


def write_token(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
    token = plan.snapshot.token
    if token is None:
        return None
    text = json.dumps(token).encode("ascii")
    text += b" " * (-len(text) % 8)
    info = TokenInfo(TokenInfo.size() + len(text), plan.snapshot.pid, 0)
    header = TokenListHeader(
        list_size=TokenListHeader.size() + info.token_size,
        count=1,
        header_size=TokenListHeader.size(),
        element_header_size=TokenInfo.size(),
    )
    return StreamType.TokenStream, header.to_bytes() + info.to_bytes() + text
