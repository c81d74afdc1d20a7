"""What Windows writes, built by hand: by its documentation, not by our decoders."""

from __future__ import annotations

import struct

_COUNTERS = (123_456_789, 44, 66, 55, 77, 33)


def build_stop(
    version: int, *, pid: int, created: int, code: int, name: bytes = b"app.exe"
) -> bytes:
    """The payload of event 2 of Microsoft-Windows-Kernel-Process, as its manifest lays it out."""
    head = struct.pack("<I", pid)
    if version >= 2:
        head += struct.pack("<Q", 9001)  # ProcessSequenceNumber
    # CreateTime, ExitTime, ExitCode, TokenElevationType, HandleCount, CommitCharge, CommitPeak
    head += struct.pack("<QQIIIQQ", created, created + 10, code, 1, 200, 4096, 8192)
    if version >= 1:
        # CPUCycleCount, read and write operations, KiB read and written, hard faults
        head += struct.pack("<QIIIII", *_COUNTERS)
    return head + name + b"\0"


def _event(number: int, provider: str, data: tuple[str, ...]) -> str:
    items = "".join(f"<Data>{text}</Data>" for text in data)
    return (
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>"
        f"<Provider Name='{provider}'/><EventID Qualifiers='0'>{number}</EventID><Level>2</Level>"
        "<TimeCreated SystemTime='2026-11-21T10:00:00.000Z'/><Channel>Application</Channel>"
        f"</System><EventData>{items}</EventData></Event>"
    )


ERROR_XML = _event(
    1000,
    "Application Error",
    (
        "server.exe", "1.2.0.0", "65f2a1b0", "gpu_rt.dll", "12.0.0.1", "65f2a1c0", "c0000409",
        "0000000000041d0a", "1a2c", "01da7f6b5a0c1d2e", r"C:\app\server.exe", r"C:\app\gpu_rt.dll",
        "0f1e2d3c-aaaa-bbbb-cccc-001122334455", "", "",
    ),
)  # fmt: skip
HANG_XML = _event(
    1002,
    "Application Hang",
    ("viewer.exe", "2.0.0.0", "2b10", "01da7f6b5a0c1d2f", "4294967295", r"C:\app\viewer.exe"),
)
REPORT = "\r\n".join(
    (
        "Version=1",
        "EventType=BEX64",
        "ReportIdentifier=0F1E2D3C-aaaa-bbbb-cccc-001122334455",
        "Sig[0].Name=Application Name",
        "Sig[0].Value=server.exe",
        "Sig[3].Name=Fault Module Name",
        "Sig[3].Value=gpu_rt.dll",
        "Sig[7].Name=Exception Code",
        "Sig[7].Value=c0000409",
        "Sig[8].Name=Exception Data",
        "Sig[8].Value=0000000000000007",
    )
)
