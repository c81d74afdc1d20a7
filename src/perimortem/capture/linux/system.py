"""Facts about this machine for the dump."""

from __future__ import annotations

import os
import platform
import re
import sys

assert sys.platform == "linux"

from perimortem.model.snapshot import Architecture, SystemFacts

_NUMBER = re.compile(r"\d+")
_ARCHITECTURES = {"x86_64": Architecture.X86_64, "aarch64": Architecture.AARCH64}


def collect_system_facts() -> SystemFacts:
    """Architecture, kernel version and processor."""
    name = os.uname()
    numbers = [int(part) for part in _NUMBER.findall(name.release)[:3]] + [0, 0, 0]
    cpu = _read_cpuinfo()
    return SystemFacts(
        architecture=_ARCHITECTURES.get(platform.machine(), Architecture.UNKNOWN),
        os_release=f"{name.sysname} {name.release} {name.version} {name.machine}",
        os_version=(numbers[0], numbers[1], numbers[2]),
        processor_count=os.cpu_count() or 0,
        cpu_vendor=cpu.get("vendor_id", ""),
        cpu_family=_number(cpu.get("cpu family")),
        cpu_model=_number(cpu.get("model")),
        cpu_stepping=_number(cpu.get("stepping")),
    )


def read_boot_time_s() -> int:
    """btime of /proc/stat: seconds since the epoch."""
    try:
        with open("/proc/stat", "rb") as file:
            for line in file:
                if line.startswith(b"btime "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def _read_cpuinfo() -> dict[str, str]:
    facts: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.strip():
                    break
                key, _, value = line.partition(":")
                facts[key.strip()] = value.strip()
    except OSError:
        pass
    return facts


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
