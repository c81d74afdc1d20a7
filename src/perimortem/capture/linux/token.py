"""The kernel's view of a process's identity: ids, capabilities, confinement."""

from __future__ import annotations

import os
import sys
from typing import Any

assert sys.platform == "linux"

from perimortem.procfs.status import find_field
from perimortem.text import printable

_CAPABILITIES = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
    "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
    "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
    "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
    "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
    "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
)  # fmt: skip
"""capabilities(7), in the order of their bits."""
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_SECCOMP = {"0": "off", "1": "strict", "2": "filter"}


def collect_token(pid: int, status: bytes) -> dict[str, Any]:
    """From /proc/PID/status and its neighbours; unreadable values are omitted."""
    token: dict[str, Any] = {}
    for key, name in (("uids", "Uid"), ("gids", "Gid"), ("groups", "Groups")):
        numbers = find_field(status, name)
        if numbers is not None:
            token[key] = [int(number) for number in numbers.split() if number.isdecimal()]
    for key, name in (
        ("effective", "CapEff"), ("permitted", "CapPrm"), ("bounding", "CapBnd"),
        ("inheritable", "CapInh"), ("ambient", "CapAmb"),
    ):  # fmt: skip
        mask = find_field(status, name)
        if mask is not None:
            token[f"capabilities_{key}"] = _name_capabilities(mask)
    no_new = find_field(status, "NoNewPrivs")
    if no_new is not None:
        token["no_new_privileges"] = no_new == "1"
    seccomp = find_field(status, "Seccomp")
    if seccomp is not None:
        token["seccomp"] = _SECCOMP.get(seccomp, seccomp)
    try:
        with open(f"/proc/{pid}/attr/current", "rb") as file:
            label = file.read(4096).rstrip(b"\0\n").decode("utf-8", "backslashreplace")
        if label:
            token["security_label"] = printable(label)
    except OSError:
        pass
    namespaces = {}
    for name in _NAMESPACES:
        try:
            namespaces[name] = os.readlink(f"/proc/{pid}/ns/{name}").partition("[")[2].rstrip("]")
        except OSError:
            continue
    if namespaces:
        token["namespaces"] = namespaces
    return token


def _name_capabilities(mask: str) -> list[str] | str:
    try:
        bits = int(mask, 16)
    except ValueError:
        return mask
    if bits == (1 << len(_CAPABILITIES)) - 1:
        return "all"
    return [
        _CAPABILITIES[bit] if bit < len(_CAPABILITIES) else f"bit {bit}"
        for bit in range(bits.bit_length())
        if bits >> bit & 1
    ]
