"""How to get the debug symbols of a module on this system. Pure but for its name.

Source: each distribution's documentation of its debug packages and of its debuginfod server.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from perimortem.model.snapshot import Module, OperatingSystem
from perimortem.symbols.wanted import base_name

_SERVERS = {
    "debian": "https://debuginfod.debian.net",
    "ubuntu": "https://debuginfod.ubuntu.com",
    "fedora": "https://debuginfod.fedoraproject.org",
    "arch": "https://debuginfod.archlinux.org",
    "opensuse": "https://debuginfod.opensuse.org",
    "alpine": "",
}
_PACKAGES = {
    "debian": "apt install PACKAGE-dbgsym, where dpkg -S {path} names the package",
    "ubuntu": "apt install PACKAGE-dbgsym, where dpkg -S {path} names the package",
    "fedora": "dnf debuginfo-install $(rpm -qf {path})",
    "opensuse": "zypper install PACKAGE-debuginfo, where rpm -qf {path} names the package",
    "alpine": "apk add PACKAGE-dbg, where apk info --who-owns {path} names the package",
}
_MICROSOFT = "https://msdl.microsoft.com/download/symbols"


def describe_remedy(module: Module, system: OperatingSystem) -> str:
    """In one line."""
    name = base_name(module.path)
    if system is OperatingSystem.WINDOWS:
        return (
            f"--symbols DIR with {base_name(module.debug_file) or name}, or --symbols {_MICROSOFT}"
        )
    if system is not OperatingSystem.LINUX or not module.path.startswith(("/usr/", "/lib")):
        return f"--symbols DIR with {name}, {name}.debug or {name}.sym"
    distribution = find_distribution()
    options = []
    package = _PACKAGES.get(distribution)
    if package is not None:
        options.append(package.format(path=module.path))
    server = _SERVERS.get(distribution, "https://debuginfod.elfutils.org")
    if server:
        options.append(f"--symbols {server}")
    return "; or ".join(options)


@lru_cache(maxsize=1)
def find_distribution() -> str:
    """debian, ubuntu, fedora, arch, opensuse, alpine, or an empty string."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    names = re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', text, re.MULTILINE)
    words = " ".join(names).split()
    return next((name for word in words for name in _SERVERS if word.startswith(name)), "")
