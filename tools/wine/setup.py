"""A Windows Python with the project and its tests' programs, under Wine: from an empty folder.

    python tools/wine/setup.py FOLDER      make it, or bring it up to date
    FOLDER/winpy ARGUMENTS                 run its python.exe
    FOLDER/stop                            end what still runs in it

Needs wine, wine64 and mingw-w64 (`make wine-deps`). The Windows libraries of CPython are taken from the
wheel of a package that ships them (panda3d), at the time of the set-up; none of them is kept in the
repository. What is fetched is checked against the hashes in requirements/windows*.txt.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
WINE = Path("/usr/lib/wine/wine64")
WINESERVER = Path("/usr/lib/wine/wineserver64")
COMPILER = "x86_64-w64-mingw32-gcc"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHON_DLL = f"python{VERSION.replace('.', '')}.dll"
REQUIREMENTS = ROOT / "requirements"
"""What is fetched, with the hash of each file (`make lock`)."""
_NOT_COPIED = shutil.ignore_patterns(
    "test", "tests", "site-packages", "dist-packages", "__pycache__", "lib-dynload", "config-3*",
    "idlelib", "lib2to3",
)  # fmt: skip
_READY_S = 60.0


class SetupFailed(Exception):
    """One line: what failed, and what to do."""


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    try:
        set_up(Path(sys.argv[1]).resolve())
    except SetupFailed as error:
        print(f"tools/wine/setup.py: {error}", file=sys.stderr)
        return 1
    return 0


def set_up(folder: Path) -> None:
    check_tools()
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "python"
    if not is_newer(folder / "python.done", *REQUIREMENTS.glob("windows*.txt")):
        step("Windows Python")
        shutil.rmtree(python, ignore_errors=True)
        unpack_libraries(folder, python)
        copy_standard_library(python)
        build_launcher(python)
        install_packages(python)
        (folder / "python.done").touch()
    step("agent and test programs")
    install_project(folder, python)
    write_scripts(folder)
    step("Wine prefix")
    make_prefix(folder)
    start_keeper(folder)


def is_newer(path: Path, *others: Path) -> bool:
    made_s = path.stat().st_mtime if path.exists() else 0.0
    return made_s > max(other.stat().st_mtime for other in others)


def step(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def check_tools() -> None:
    missing = [str(path) for path in (WINE, WINESERVER) if not path.exists()]
    missing += [name for name in (COMPILER, "cmake", "ninja") if shutil.which(name) is None]
    if missing:
        raise SetupFailed(f"{', '.join(missing)} not found: make wine-deps")


def run(*argv: object, **options: object) -> None:
    """A step that must succeed; its output is shown if it does not."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
        raise SetupFailed(f"{argv[0]} failed with status {done.returncode}")


def unpack_libraries(folder: Path, python: Path) -> None:
    """deploy_libs of panda3d: the library itself beside python.exe, the rest in DLLs."""
    wheels = folder / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)  # of another version
    pip("download", "--dest", wheels, "-r", REQUIREMENTS / "windows-python.txt")
    (python / "DLLs").mkdir(parents=True)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        for name in wheel.namelist():
            base = os.path.basename(name)
            is_wanted = name.startswith("deploy_libs/") and base
            if not is_wanted or base.startswith(("api-ms-win", "tcl", "tk", "_tkinter")):
                continue
            beside = base.lower() in (PYTHON_DLL, "vcruntime140.dll")
            (python / ("" if beside else "DLLs") / base).write_bytes(wheel.read(name))
    if not (python / PYTHON_DLL).exists():
        raise SetupFailed(
            f"panda3d has no {PYTHON_DLL}: use a Python 3.11 (make PYTHON=python3.11)"
        )


def copy_standard_library(python: Path) -> None:
    """From the Python that runs this: the same minor version."""
    shutil.copytree(sysconfig.get_path("stdlib"), python / "Lib", ignore=_NOT_COPIED)
    (python / "Lib" / "site-packages").mkdir()


def build_launcher(python: Path) -> None:
    """python.exe, and python3.dll for extension modules of the stable ABI."""
    define = f'-DPYTHON_DLL=L"{PYTHON_DLL}"'
    run(COMPILER, "-O2", "-s", define, "-o", python / "python.exe", HERE / "python.c", "-lshell32")
    listing = subprocess.run(
        ["x86_64-w64-mingw32-objdump", "-p", python / PYTHON_DLL],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    table = listing.split("[Ordinal/Name Pointer] Table", 1)[1].split("\n\n", 1)[0]
    names = [line.split()[-1] for line in table.splitlines()[1:] if line.strip()]
    definition = python / "python3.def"
    target = PYTHON_DLL.removesuffix(".dll")
    exports = "\n".join(f"{name}={target}.{name}" for name in names)
    definition.write_text(f"LIBRARY python3.dll\nEXPORTS\n{exports}\n")
    run(
        COMPILER, "-shared", "-nostdlib", "-Wl,--entry=0", "-o", python / "python3.dll", definition
    )  # fmt: skip


def install_packages(python: Path) -> None:
    target = python / "Lib" / "site-packages"
    pip("install", "--target", target, "-r", REQUIREMENTS / "windows.txt")


def pip(command: str, *arguments: object) -> None:
    """For the Windows Python, and checked by hash: a file of another hash is refused."""
    run(
        sys.executable, "-m", "pip", command, "--quiet", "--require-hashes", "--no-deps",
        "--only-binary=:all:", "--platform", "win_amd64", "--python-version", VERSION, *arguments,
    )  # fmt: skip


def install_project(folder: Path, python: Path) -> None:
    """The package with its cross-built library, and the programs that the tests crash."""
    build = folder / "native"
    package = python / "Lib" / "site-packages" / "perimortem"
    toolchain = HERE / "toolchain.cmake"
    run(
        "cmake", "-S", ROOT / "native", "-B", build, "-G", "Ninja",
        f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", f"-DCMAKE_INSTALL_PREFIX={folder / 'sdk'}",
    )  # fmt: skip
    run("cmake", "--build", build)
    run("cmake", "--install", build)
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(
        ROOT / "src" / "perimortem",
        package,
        ignore=shutil.ignore_patterns("__pycache__", "_native"),
    )
    native = package / "_native"
    native.mkdir()
    shutil.copy(folder / "sdk" / "bin" / "perimortem.dll", native)
    shutil.copytree(folder / "sdk" / "include", native / "include")
    run(
        "make", "-C", ROOT / "tests" / "windows" / "programs", f"SDK={folder / 'sdk'}",
        f"BIN={folder / 'programs'}",
    )  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    """No crash dialogs, no Wine debugger on a crash, no menu entries."""
    return {
        "WINEPREFIX": str(folder / "prefix"),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=;winedbg.exe=d;winemenubuilder.exe=d",
        "PYTHONUTF8": "1",
        "PERIMORTEM_TEST_PROGRAMS": f"Z:{folder / 'programs'}".replace("/", "\\"),
    }


def write_scripts(folder: Path) -> None:
    """winpy uses a pipe: Python cannot query a handle of a Unix file."""
    exports = "\n".join(f"export {name}='{value}'" for name, value in environment(folder).items())
    scripts = {
        "winpy": f'{WINE} "{folder}/python/python.exe" "$@" </dev/null 2>&1 | cat\n'
        "exit ${PIPESTATUS[0]}",
        "wine": f'exec {WINE} "$@"',
        "stop": f"{WINESERVER} -k || true",
    }
    for name, body in scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/bash\n{exports}\n{body}\n")
        path.chmod(0o755)


def make_prefix(folder: Path) -> None:
    if (folder / "prefix.done").exists():
        return
    subprocess.run([folder / "stop"], check=False)
    shutil.rmtree(folder / "prefix", ignore_errors=True)
    quiet = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    headless = ("reg", "add", r"HKCU\Software\Wine\Drivers", "/v", "Graphics", "/d", "null", "/f")
    for arguments in (("wineboot", "-i"), ("winecfg", "-v", "win10"), headless):
        subprocess.run([folder / "wine", *arguments], check=True, timeout=120, **quiet)  # type: ignore[call-overload]
    variables = {**os.environ, **environment(folder)}
    subprocess.run([WINESERVER, "-w"], env=variables, timeout=120, check=False)
    if not (folder / "prefix" / "drive_c" / "windows").is_dir():
        raise SetupFailed("wineboot created no prefix")
    (folder / "prefix.done").touch()


def start_keeper(folder: Path) -> None:
    keeper = folder / "keeper.exe"
    run(COMPILER, "-O2", "-s", "-municode", "-o", keeper, HERE / "keeper.c", "-luser32")
    ready = folder / "prefix" / "drive_c" / "keeper.ready"
    ready.unlink(missing_ok=True)
    subprocess.Popen(
        [folder / "wine", keeper, "C:\\keeper.ready"],
        cwd="/", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + _READY_S
    while not ready.exists():
        if time.monotonic() > deadline:
            raise SetupFailed(f"Wine's desktop was not there after {_READY_S:g} s")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
