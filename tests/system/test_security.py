"""What has gone wrong in other crash handlers, tried with ours. SECURITY.md has the table.

The kernel's helper is started as the kernel starts it, with its arguments and a core on its standard
input: core_pattern stays as it is. No monitor listens, so the core goes where it would have gone without
us.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import await_true, let_others_in

from perimortem.agent.library import find_core_helper
from perimortem.collector.linux.install import _ARGUMENTS
from perimortem.errors import MalformedInput, PerimortemError
from perimortem.recorder.linux.directory import ensure_run_dir
from perimortem.symbols.files import ImageLibrary

pytestmark = pytest.mark.system

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the kernel starts the helper as root")
USER, OTHER = 54321, 54322
CORE = b"\x7fELF" + bytes(range(256)) * 64
DUMPABLE, NOT_DUMPABLE, FOR_ROOT_ONLY = "1", "0", "2"
"""%d of core(5): PR_GET_DUMPABLE of the process."""
IN_OPEN, IN_ISDIR = 0x20, 0x40000000


@dataclass
class Helper:
    """The core helper in its own directory, as `system install` sets it up."""

    folder: Path
    started: list[subprocess.Popen] = field(default_factory=list)

    def start(self, argv, user=USER, group=None, **options) -> subprocess.Popen:
        """A process of ``user`` that waits."""
        program = subprocess.Popen(
            argv, user=user, group=user if group is None else group, extra_groups=[],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options,
        )  # fmt: skip
        self.started.append(program)
        return program

    def start_python(self, script, **options) -> subprocess.Popen:
        """A Python that waits when ``script`` has run."""
        argv = [sys.executable, "-c", f"{script}\nprint(flush=True)\ninput()"]
        program = self.start(argv, **options)
        assert program.stdout.readline() == b"\n"
        return program

    def take_core(
        self, pid, *, previous="core", mode=DUMPABLE, user=USER, group=None, limit=1 << 63, name="x",
        core=CORE, environment=None,
    ):  # fmt: skip
        """The kernel has a core of process ``pid``, that it knows as one of ``user``."""
        (self.folder / "previous").write_text(previous + "\n")
        values = {
            "P": pid, "p": pid, "s": int(signal.SIGSEGV), "c": limit, "d": mode, "t": int(time.time()),
            "u": user, "g": user if group is None else group, "e": name, "F": 0,
        }  # fmt: skip
        arguments = [str(values[word.removeprefix("%")]) for word in _ARGUMENTS.split()]
        done = subprocess.run(
            [self.folder / "core-helper", *arguments],
            input=core, capture_output=True, env=environment or {}, cwd="/", timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.fixture()
def helper(tmp_path):
    folder = tmp_path / "system"
    folder.mkdir()
    shutil.copy(find_core_helper(), folder / "core-helper")
    let_others_in(tmp_path)
    made = Helper(folder)
    yield made
    for program in made.started:
        program.kill()
        program.communicate()


@pytest.fixture()
def home(tmp_path):
    """A directory of the user's."""
    folder = tmp_path / "home"
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


def read_ids(pid):
    """Real, effective, saved and file system uid."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (ids,) = [line.split()[1:] for line in lines if line.startswith("Uid:")]
    return [int(one) for one in ids]


def copy_program(path, mode):
    """`sleep`, as a program of root with ``mode``."""
    shutil.copy(shutil.which("sleep"), path)
    path.chmod(mode)
    return path


@contextmanager
def watch_opened(*folders):
    """Names of the files below ``folders`` that any process has opened since the last call."""
    libc = ctypes.CDLL(None)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    for folder in folders:
        assert libc.inotify_add_watch(fd, os.fsencode(folder), IN_OPEN) > 0

    def read_opened():
        data, names, at = os.read(fd, 65536), set(), 0
        while at < len(data):
            _, mask, _, size = struct.unpack_from("iIII", data, at)
            name = data[at + 16 : at + 16 + size].rstrip(b"\0").decode()
            at += 16 + size
            if not mask & IN_ISDIR:
                names.add(name)
        return names

    yield read_opened
    os.close(fd)


@as_root
def test_a_core_file_is_the_users_alone(helper, home):
    """As below, but for what is wrong there. CVE-2013-1067, CVE-2025-5467: others could read it."""
    program = helper.start(["sleep", "60"], cwd=home)
    helper.take_core(program.pid)
    facts = (home / "core").stat()
    assert (home / "core").read_bytes() == CORE
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o7777) == (USER, USER, 0o600)


@as_root
@pytest.mark.parametrize("mode", [DUMPABLE, FOR_ROOT_ONLY, NOT_DUMPABLE])
@pytest.mark.parametrize("bits", [0o4755, 0o2755])
def test_no_core_file_of_a_program_with_more_rights_than_its_user(
    helper, home, tmp_path, bits, mode
):
    """CVE-2022-4415, CVE-2015-1324, CVE-2017-14177. Also where fs.suid_dumpable calls it dumpable."""
    argv = [copy_program(tmp_path / "privileged", bits), "60"]
    program = helper.start(argv, cwd=home)
    if bits & 0o4000:
        assert read_ids(program.pid) == [USER, 0, 0, 0]
    helper.take_core(program.pid, mode=mode)
    assert list(home.iterdir()) == []


@as_root
@pytest.mark.parametrize("mode", [FOR_ROOT_ONLY, NOT_DUMPABLE])
def test_no_core_file_of_a_program_that_has_given_up_its_rights(helper, home, mode):
    """CVE-2013-1067: it has the user's ids again, and still the secrets of root in its memory."""
    program = helper.start(["sleep", "60"], cwd=home)
    assert read_ids(program.pid) == [USER] * 4
    helper.take_core(program.pid, mode=mode)
    assert list(home.iterdir()) == []


@as_root
@pytest.mark.parametrize("now", [0, OTHER])
def test_the_process_was_replaced_by_one_of_another_user(helper, tmp_path, now):
    """CVE-2020-15702, CVE-2019-15790, CVE-2025-5054, CVE-2025-4598: killed, and its pid taken.

    The mode is that of the process that crashed, as the kernel says: what lies in /proc/PID now cannot
    make a core readable, only keep it from being written."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    folder.chmod(0o777)
    program = helper.start(["sleep", "60"], user=now, cwd=folder)
    helper.take_core(program.pid, user=USER)
    helper.take_core(program.pid, user=now, mode=FOR_ROOT_ONLY)
    assert list(folder.iterdir()) == []


@as_root
def test_the_process_has_gone(helper, home):
    """CVE-2025-5054: without it there is nothing to check, so nothing is written."""
    program = helper.start(["sleep", "60"], cwd=home)
    program.kill()
    program.wait()
    helper.take_core(program.pid)
    assert list(home.iterdir()) == []


INTO = {
    "mount": ["unshare", "--mount"],
    "user": ["unshare", "--user"],
    "mount and pid": ["unshare", "--mount", "--pid"],
}


@as_root
@pytest.mark.parametrize("namespace", INTO)
def test_nothing_is_written_for_a_process_in_a_namespace(helper, home, namespace):
    """CVE-2015-1318, CVE-2017-14180, CVE-2018-6552: its files are not ours."""
    argv = [*INTO[namespace], "sleep", "60"]
    user = USER if namespace == "user" else 0
    program = helper.start(argv, user=user, cwd=home)
    comm = Path(f"/proc/{program.pid}/comm")
    await_true(lambda: comm.read_text() == "sleep\n" or program.poll() is not None)
    if program.poll() is not None:
        pytest.skip(f"no {namespace} namespace may be made here")
    helper.take_core(program.pid, user=user)
    helper.take_core(program.pid, user=read_ids(program.pid)[0])
    assert list(home.iterdir()) == []


@as_root
def test_nothing_of_a_chroot_is_run_or_written(helper, tmp_path):
    """CVE-2015-1318, CVE-2015-1862: root ran a program from the directory that the process called /."""
    seen = tmp_path / "seen"
    handler = tmp_path / "handler"
    jail = tmp_path / "jail"
    for path, mark in ((handler, "ours"), (jail / handler.relative_to("/"), "theirs")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {mark} >> {seen}\nexec cat > {seen}.core\n")
        path.chmod(0o755)
    script = (
        f"import os; os.chroot({str(jail)!r}); os.chdir('/'); os.setgid({USER}); os.setuid({USER})"
    )
    program = helper.start_python(script, user=0)
    os.chown(jail, USER, USER)
    before = sorted(jail.iterdir())
    helper.take_core(program.pid, previous="core")
    assert sorted(jail.iterdir()) == before
    helper.take_core(program.pid, previous=f"|{handler} %P")
    assert seen.read_text() == "ours\n"
    assert Path(f"{seen}.core").read_bytes() == CORE


@as_root
@pytest.mark.parametrize(
    "kind",
    ["symbolic link", "hard link", "pipe", "pipe and a reader", "directory", "others may read",
     "of another user"],
)  # fmt: skip
def test_nothing_prepared_under_the_name_of_the_core_is_used(helper, home, tmp_path, kind):
    """CVE-2015-3315, CVE-2015-3142, CVE-2015-5287, CVE-2019-11482, CVE-2020-8833, CVE-2026-54230.

    And a pipe without a reader holds nothing up: CVE-2021-25684."""
    kept = tmp_path / "kept"
    kept.write_text("kept")
    os.chown(kept, USER, USER)
    kept.chmod(0o600)
    core = home / "core"
    if kind == "symbolic link":
        core.symlink_to(kept)
    elif kind == "hard link":
        core.hardlink_to(kept)
    elif kind.startswith("pipe"):
        os.mkfifo(core, 0o600)
        os.chown(core, USER, USER)
    elif kind == "directory":
        core.mkdir()
    else:
        core.write_text("kept")
        is_others = kind == "of another user"
        os.chown(core, OTHER if is_others else USER, USER)
        core.chmod(0o666 if is_others else 0o644)
    before = core.lstat()
    program = helper.start(["sleep", "60"], cwd=home)
    if kind == "pipe and a reader":
        with open(os.open(core, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as reader:
            helper.take_core(program.pid)
            assert reader.read() == b""
    else:
        helper.take_core(program.pid)
    after = core.lstat()
    assert (after.st_mode, after.st_uid, after.st_ino, after.st_size) == (
        before.st_mode, before.st_uid, before.st_ino, before.st_size,
    )  # fmt: skip
    assert kept.read_text() == "kept"


@as_root
def test_a_name_that_looks_like_a_line_of_status(helper, home):
    """CVE-2021-25682, CVE-2021-25683: ids were read out of the name of the process."""
    name = b"\nUid:\t0\t0\t0\t0\n"
    script = f"import os; open('/proc/self/comm', 'wb').write({name!r}); os.setuid({USER})"
    program = helper.start_python(script, user=0, cwd=home)
    assert read_ids(program.pid) == [USER] * 4
    helper.take_core(program.pid, user=0, group=0)
    assert list(home.iterdir()) == []


@as_root
@pytest.mark.parametrize(
    ("name", "expected"), [("../../evil", "core...!..!evil"), ("..", "core..."), ("/", "core.!")]
)
def test_a_name_does_not_lead_out_of_the_directory(helper, home, tmp_path, name, expected):
    """CVE-2016-9950, CVE-2015-3151, CVE-2026-77113: a name became a path."""
    program = helper.start(["sleep", "60"], cwd=home)
    before = sorted(tmp_path.iterdir())
    helper.take_core(program.pid, previous="core.%e", name=name)
    assert sorted(tmp_path.iterdir()) == before
    (written,) = home.iterdir()
    assert written.name in (expected, "core.!")


@as_root
@pytest.mark.parametrize(("limit", "sizes"), [(4096, [4096]), (0, [])])
def test_a_core_file_is_no_larger_than_its_limit(helper, home, limit, sizes):
    """CVE-2017-14177: crashes filled the disk."""
    program = helper.start(["sleep", "60"], cwd=home)
    helper.take_core(program.pid, limit=limit)
    assert [path.stat().st_size for path in home.iterdir()] == sizes


@as_root
def test_the_environment_does_not_lead_to_another_monitor(helper, home, tmp_path):
    """CVE-2015-3159: what ran as root trusted the variables of the user who started it."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as theirs:
        theirs.bind(str(run_dir / "monitor.sock"))
        theirs.listen()
        theirs.setblocking(False)
        program = helper.start(["sleep", "60"], cwd=home)
        names = ("PERIMORTEM_RUN_DIR", "PERIMORTEM_DATA_DIR", "XDG_RUNTIME_DIR", "TMPDIR", "HOME")
        helper.take_core(program.pid, environment=dict.fromkeys(names, str(run_dir)))
        with pytest.raises(BlockingIOError):
            theirs.accept()
    assert (home / "core").read_bytes() == CORE


@as_root
def test_nothing_of_the_users_is_read_as_root(helper, home):
    """CVE-2019-7307, CVE-2019-11481, CVE-2020-15701: root read settings in the user's home."""
    folders = [home, home / ".config", home / ".config" / "perimortem"]
    folders[-1].mkdir(parents=True)
    for place in (".config/perimortem/config.toml", "perimortem.toml", ".apport-ignore.xml"):
        (home / place).write_text("")
    program = helper.start(["sleep", "60"], cwd=home)
    with watch_opened(*folders) as read_opened:
        assert (home / "perimortem.toml").read_text() == ""
        assert read_opened() == {"perimortem.toml"}
        helper.take_core(program.pid, environment={"HOME": str(home)})
        assert {name.split(".")[0] for name in read_opened()} == {"core"}


@pytest.mark.parametrize("kind", ["link", "file", "group may write", "of another user"])
def test_a_run_directory_that_others_could_change_is_refused(tmp_path, perimortem, kind):
    """CVE-2020-8831, CVE-2019-11485: a lock in a directory that any user could prepare."""
    if kind == "of another user" and os.geteuid() != 0:
        pytest.skip("needs root to give a directory away")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    if kind == "link":
        perimortem.run_dir.symlink_to(theirs)
    elif kind == "file":
        perimortem.run_dir.write_text("")
    else:
        perimortem.run_dir.mkdir()
        perimortem.run_dir.chmod(0o770 if kind == "group may write" else 0o755)
        if kind == "of another user":
            os.chown(perimortem.run_dir, USER, USER)
    with pytest.raises(PerimortemError):
        ensure_run_dir(perimortem.run_dir)
    result = perimortem.call("run", "-q", "--must-watch", "--", "true")
    assert result.returncode == 125
    assert perimortem.call("run", "-q", "--", "true").returncode == 0
    assert list(theirs.iterdir()) == []
    assert not perimortem.run_dir.is_dir() or list(perimortem.run_dir.iterdir()) == []


@as_root
def test_a_dump_of_a_setuid_program_is_roots_alone(perimortem, helper, home, tmp_path):
    """CVE-2022-4415, CVE-2025-4598: who caused the crash could read what the program had read."""
    argv = [copy_program(tmp_path / "privileged", 0o4755), "60"]
    program = helper.start(argv, cwd=home)
    assert read_ids(program.pid) == [USER, 0, 0, 0]
    dump = home / "of-setuid.dmp"
    taken = perimortem.call("dump", "--output", dump, program.pid)
    assert taken.returncode == 0, taken.stderr
    facts = dump.stat()
    assert (facts.st_uid, facts.st_mode & 0o7777) == (0, 0o600)
    read = subprocess.run(
        ["cat", dump], user=USER, group=USER, extra_groups=[], cwd="/", capture_output=True
    )
    assert (read.returncode, read.stdout) == (1, b"")


def test_a_removed_dump_is_a_name_and_never_what_it_links_to(perimortem, programs, tmp_path):
    """CVE-2009-1295, CVE-2015-3150: root's tidying removed what links led to."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    for _ in range(3):
        perimortem.report(programs / "crash_null")
    dumps = sorted((perimortem.data_dir / "dumps").iterdir(), key=lambda path: path.stat().st_mtime)
    for path, target in zip(dumps, (kept, kept / "file"), strict=False):
        path.unlink()
        path.symlink_to(target)
        os.utime(path, (0, 0), follow_symlinks=False)
    assert perimortem.call("vacuum", "--max-use", "0").returncode == 0
    assert [path.is_symlink() for path in dumps[:2]] == [False, False]
    assert (kept / "file").read_text() == "kept"
    assert dumps[2].exists()  # the newest of a kind stays


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "directory"])
def test_what_a_dump_names_is_opened_only_if_it_is_a_file(tmp_path, kind):
    """CVE-2021-25684: a pipe held the handler up. And opening a device is more than looking at it."""
    place = tmp_path / "libnamed.so"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero")
    with watch_opened(tmp_path, Path("/dev")) as read_opened, ImageLibrary() as library:
        with pytest.raises(MalformedInput, match="not a regular file"):
            library.open(place)
        (tmp_path / "other").write_text("")
        assert "zero" not in (opened := read_opened())
        assert "libnamed.so" not in opened


@pytest.fixture()
def trap(tmp_path):
    """A directory of another user's with modules that Python may look for, and a script of gdb."""
    folder = tmp_path / "trap"
    folder.mkdir()
    sprung = folder / "sprung"
    body = f"open({str(sprung)!r}, 'a').write(__name__)\n"
    for name in (
        "perimortem",
        "msgspec",
        "click",
        "capstone",
        "drgn",
        "symbolic",
        "sitecustomize",
        "json",
    ):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(body)
    (folder / ".gdbinit").write_text(f"shell touch {sprung}\n")
    subprocess.run([sys.executable, "-c", "import msgspec"], cwd=folder, check=True)
    assert sprung.read_text() == "msgspec"  # it would run
    sprung.unlink()
    return folder


def test_the_current_directory_is_no_place_for_programs(perimortem, programs, trap):
    """CVE-2015-1341, CVE-2005-1705: what lay beside the dump, or beside the program, was run."""
    command = Path(sys.executable).with_name("perimortem")
    options = {"cwd": trap, "env": perimortem.env, "capture_output": True, "text": True}
    ran = subprocess.run([command, "run", "-q", "--", programs / "crash_null"], **options)
    assert ran.returncode == 128 + signal.SIGSEGV, ran.stderr
    (dump,) = (perimortem.data_dir / "dumps").iterdir()
    here = trap / "crash.dmp"
    shutil.copy(dump, here)
    for arguments in (
        ("show",), ("analyze", here), ("inspect", here), ("convert", here, trap / "crash.core"),
        ("stack", str(os.getpid())), ("doctor",),
    ):  # fmt: skip
        done = subprocess.run([command, *arguments], **options)
        assert "Traceback" not in done.stderr, done.stderr
    assert not (trap / "sprung").exists()


def test_the_library_starts_no_program_of_the_current_directory(
    perimortem, programs, trap, tmp_path
):
    """CVE-2015-1341. A script has its own directory on its path, and not the current one."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, perimortem\n"
        "perimortem.run([sys.argv[1]])\n"
        "print(*(incident.verdict for incident in perimortem.incidents()))\n"
        "guard = perimortem.spawn_and_attach()\n"
        "print(guard.error)\n"
        "guard.release()\n"
    )
    done = subprocess.run(
        [sys.executable, script, programs / "crash_null"],
        cwd=trap, env=perimortem.env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert not (trap / "sprung").exists()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ready\ncrash\n\n"
