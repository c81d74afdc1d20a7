"""Stacks of real programs, frame by frame the same as gdb's: live, from cores and from minidumps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, await_true, find_python

pytestmark = pytest.mark.system
GDB_SCRIPT = ROOT / "tests" / "oracles" / "gdb_frames.py"
BUILDS = ("O0", "O2", "Os", "O2-fp", "O2-omit", "static", "static-pie", "no-pie", "stripped")
KINDS = (
    "rest", "deep 5000", "mutual 40", "signal", "signal-altstack", "fault", "call-null-handled",
    "callback", "alloca", "aligned", "noreturn", "threads 50",
)  # fmt: skip
CRASHES = ("crash", "abort", "call-null", "call-wild", "call-data", "overflow")


def ask_gdb(executable, core):
    """{tid: [pc, ...]} of every thread: physical frames, to the outermost."""
    gdb = shutil.which("gdb")
    if gdb is None:
        pytest.fail("gdb is the oracle of stacks: make test-deps")
    answer = subprocess.run(
        [gdb, "-nx", "-batch", executable, "-core", core, "-x", GDB_SCRIPT],
        capture_output=True,
        text=True,
        env={**os.environ, "DEBUGINFOD_URLS": ""},
        timeout=100,
    )
    line = next((x for x in answer.stdout.splitlines() if x.startswith("FRAMES ")), None)
    assert line, answer.stderr
    return {int(tid): pcs for tid, pcs in json.loads(line.removeprefix("FRAMES ")).items()}


def walk(path):
    """The same by our own walker, without the limits of a document."""
    from perimortem.dumping.open import open_snapshot
    from perimortem.symbols.cache import SymbolCache
    from perimortem.symbols.files import FileFinder, ImageLibrary
    from perimortem.symbols.provider import Symbols
    from perimortem.unwind.walk import StackWalker

    with open_snapshot(Path(path)) as snapshot, ImageLibrary() as library:
        cache = SymbolCache(Path(path).with_suffix(".symbols"))
        symbols = Symbols(snapshot, FileFinder(library, Path("/")), cache, with_lines=False)
        walker = StackWalker(snapshot, symbols.find_image)
        return {stack.tid: stack for stack in walker.walk_all()}


def assert_same(perimortem, executable, path):
    """``path``: a core or a minidump; the other one is made of it."""
    is_core = path.suffix == ".core"
    other = path.with_suffix(".dmp" if is_core else ".core")
    assert perimortem.call("convert", path, other).returncode == 0
    theirs = ask_gdb(executable, path if is_core else other)
    for file in (path, other):
        ours = {tid: [f.pc for f in stack.frames] for tid, stack in walk(file).items()}
        assert ours == theirs, file


def dump_live(perimortem, program, tmp_path):
    path = tmp_path / "live.core"
    result = perimortem.call("dump", program.pid, "--format", "core", "-o", path)
    assert result.returncode == 0, result.stderr
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("build", BUILDS)
def test_the_same_frames_as_gdb(perimortem, start, programs, tmp_path, build, kind):
    program = start(f"stacks-{build}", *kind.split())
    assert program.first_line == "ready"
    path = dump_live(perimortem, program, tmp_path)
    assert_same(perimortem, programs / f"stacks-{build}", path)


@pytest.mark.parametrize("kind", CRASHES)
@pytest.mark.parametrize("build", ["O0", "O2", "stripped"])
def test_the_same_frames_of_crashes(perimortem, programs, build, kind):
    report = perimortem.report(programs / f"stacks-{build}", kind)
    (dump,) = report["dumps"]
    assert_same(perimortem, programs / f"stacks-{build}", Path(dump["path"]))


@pytest.mark.parametrize("kind", ["lambda", "catch", "unwinding"])
@pytest.mark.parametrize("build", ["O0", "O2", "static"])
def test_the_same_frames_of_cpp(perimortem, start, programs, tmp_path, build, kind):
    program = start(f"stacks_cpp-{build}", kind)
    path = dump_live(perimortem, program, tmp_path)
    assert_same(perimortem, programs / f"stacks_cpp-{build}", path)


PYTHON = """
import threading, time
class CrashContext:
    def __init__(self):
        self.visit(3)
    def visit(self, depth):
        if depth:
            return sorted([1], key=lambda _: self.visit(depth - 1))
        print("ready", flush=True)
        time.sleep(100)
threading.Thread(target=lambda: time.sleep(100), daemon=True).start()
CrashContext()
"""


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_same_frames_of_python(perimortem, start, tmp_path, version):
    python = find_python(version)
    program = start([python, "-c", PYTHON])
    assert_same(perimortem, python, dump_live(perimortem, program, tmp_path))


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_python_and_native_frames_are_one_stack(perimortem, start, version):
    python = find_python(version)
    program = start([python, "-c", PYTHON])
    document = json.loads(perimortem.call("stack", "--json", program.pid).stdout)
    main = next(t for t in document["threads"] if t["tid"] == program.pid)
    assert main["whole"], main["end"]
    names = [f["function"].rpartition(".")[2] for f in main["frames"] if f["language"] == "python"]
    assert names == ["visit", *["<lambda>", "visit"] * 3, "__init__", "<module>"]
    native = [f["function"] for f in main["frames"] if f["language"] == "native"]
    assert not any("EvalFrameDefault" in (name or "") for name in native)
    first_python = next(i for i, f in enumerate(main["frames"]) if f["language"] == "python")
    assert "sleep" in main["frames"][0]["function"]
    assert 0 < first_python < len(main["frames"]) - 1
    assert main["frames"][-1]["function"] == "_start"


def test_the_holder_of_the_gil_is_reported(perimortem, start):
    script = (
        "import threading, time\n"
        "def spin():\n    while True: pass\n"
        "threading.Thread(target=spin, daemon=True).start()\n"
        "print('ready', flush=True)\nspin()\n"
    )
    program = start([os.path.realpath(sys.executable), "-c", script])

    def holders():
        threads = json.loads(perimortem.call("stack", "--json", program.pid).stdout)["threads"]
        return [[n for n in t["notes"] if "GIL" in n] for t in threads]

    # Between two instructions no thread may hold it for a moment.
    await_true(lambda: sorted(holders()) == [["holds the GIL"], ["waits for the GIL"]])


def test_python_frames_of_a_full_dump(perimortem, start, tmp_path):
    program = start([os.path.realpath(sys.executable), "-c", PYTHON])
    path = tmp_path / "full.dmp"
    assert perimortem.call("dump", program.pid, "--type", "full", "-o", path).returncode == 0
    document = json.loads(perimortem.call("stack", "--json", path).stdout)
    main = next(t for t in document["threads"] if t["tid"] == program.pid)
    assert "<module>" in [f["function"] for f in main["frames"] if f["language"] == "python"]


def test_a_small_dump_has_the_python_frames_of_the_live_process(perimortem, start, tmp_path):
    program = start([os.path.realpath(sys.executable), "-c", PYTHON])
    path = tmp_path / "mini.dmp"
    assert perimortem.call("dump", program.pid, "-o", path).returncode == 0

    def list_places(what):
        document = json.loads(perimortem.call("stack", "--json", what).stdout)
        main = next(t for t in document["threads"] if t["tid"] == program.pid)
        return [
            (f["function"], f["source"]["line"])
            for f in main["frames"]
            if f["language"] == "python"
        ]

    assert list_places(path) == list_places(program.pid) != []


@pytest.mark.parametrize(
    "argv",
    [
        ["redis-server", "--port", "0", "--save", "", "--unixsocket", "{tmp}/redis.sock"],
        ["nginx", "-p", "{tmp}", "-c", "{tmp}/nginx.conf", "-g", "daemon off; master_process off;"],
        ["node", "-e", "setInterval(() => {}, 1000)"],
        ["rg", "nothing", "-"],
        ["gron"],
    ],
    ids=["redis", "nginx", "node", "rust", "go"],
)
def test_the_same_frames_of_programs_of_the_distribution(perimortem, tmp_path, argv):
    executable = shutil.which(argv[0], path=os.environ["PATH"] + ":/usr/sbin")
    if executable is None:
        pytest.skip(f"{argv[0]} is not installed")
    (tmp_path / "nginx.conf").write_text(
        f"error_log stderr; pid {tmp_path}/nginx.pid; events {{}} "
        f"http {{ access_log off; server {{ listen unix:{tmp_path}/nginx.sock; }} }}"
    )
    program = subprocess.Popen(
        [executable, *(a.replace("{tmp}", str(tmp_path)) for a in argv[1:])],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_true(Rest(program.pid))
        path = tmp_path / "live.core"
        assert perimortem.call("dump", program.pid, "--format", "core", "-o", path).returncode == 0
        theirs = ask_gdb(os.path.realpath(f"/proc/{program.pid}/exe"), path)
        ours = walk(path)
        if argv[0] == "gron":
            # gdb has nothing to go by in a Go program without debugging information.
            assert all(len(stack.frames) >= 2 for stack in ours.values())
            return
        assert {tid: [f.pc for f in s.frames] for tid, s in ours.items()} == theirs
    finally:
        program.kill()
        program.communicate()


class Rest:
    """Whether a program waits for what never comes: it has not run since the last samples."""

    def __init__(self, pid):
        self.pid, self.slices, self.same = pid, None, 0

    def __call__(self):
        slices = Path(f"/proc/{self.pid}/schedstat").read_text().split()[2]
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        self.same = self.same + 1 if slices == self.slices and state == "S" else 0
        self.slices = slices
        return self.same >= 10


def test_java_as_far_as_frame_information_goes(perimortem, start, tmp_path):
    if shutil.which("java") is None or shutil.which("javac") is None:
        pytest.skip("there is no Java on this machine")
    source = tmp_path / "Rest.java"
    source.write_text(
        "public class Rest { public static void main(String[] a) throws Exception {"
        ' System.out.println("ready"); synchronized (Rest.class) { Rest.class.wait(); } } }'
    )
    subprocess.run(["javac", source], check=True, timeout=100)
    program = start(["java", "-cp", str(tmp_path), "Rest"])
    assert program.first_line == "ready"
    document = json.loads(perimortem.call("stack", "--no-lines", "--json", program.pid).stdout)
    assert len(document["threads"]) > 8
    by_name = {t["name"]: t for t in document["threads"]}
    # Of threads of the virtual machine's own all frames are there; of Java ones those above its code.
    assert by_name["VM Thread"]["whole"]
    assert all(t["frames"] for t in document["threads"])
    assert document["deadlocks"] == []


def test_a_static_program_without_frame_information_by_frame_pointers(perimortem, start):
    program = start("stacks-no-cfi", "mutual", 10)
    document = json.loads(perimortem.call("stack", "--json", program.pid).stdout)
    (thread,) = document["threads"]
    names = [f["function"] for f in thread["frames"]]
    assert names.count("odd") + names.count("even") == 11
    assert "main" in names
    assert {f["trust"] for f in thread["frames"] if f["function"] == "odd"} == {"frame-pointer"}


def test_a_missing_file_is_named_and_guessed_frames_say_so(perimortem, start, programs, tmp_path):
    copy = tmp_path / "program"
    shutil.copy(programs / "stacks-O2-omit", copy)
    program = start([str(copy), "mutual", "6"])
    path = dump_live(perimortem, program, tmp_path)
    copy.unlink()
    document = json.loads(perimortem.call("stack", "--json", path).stdout)
    (missing,) = [m for m in document["missing"] if m["module"] == str(copy)]
    assert "does not exist here" in missing["text"]
    assert "--symbols" in missing["text"]
    (thread,) = document["threads"]
    assert {f["trust"] for f in thread["frames"]} & {"scan", "frame-pointer"}
    with_symbols = perimortem.call("stack", "--json", path, "--symbols", programs)
    assert "another version" not in with_symbols.stdout
    # By name it is not found there; under its own name it is.
    (tmp_path / "symbols").mkdir()
    shutil.copy(programs / "stacks-O2-omit", tmp_path / "symbols" / "program")
    again = json.loads(
        perimortem.call("stack", "--json", path, "--symbols", tmp_path / "symbols").stdout
    )
    assert again["threads"][0]["whole"]


def test_another_version_of_a_program_is_not_taken_for_it(perimortem, start, programs, tmp_path):
    copy = tmp_path / "program"
    shutil.copy(programs / "stacks-O2-omit", copy)
    program = start([str(copy), "rest"])
    path = dump_live(perimortem, program, tmp_path)
    copy.unlink()
    shutil.copy(programs / "stacks-O0", copy)
    document = json.loads(perimortem.call("stack", "--json", path).stdout)
    (missing,) = [m for m in document["missing"] if m["module"] == str(copy)]
    assert "another version" in missing["text"]


def test_a_stack_overflow_is_folded(perimortem, programs):
    report = perimortem.report(programs / "stacks-O0", "overflow")
    text = perimortem.call("analyze", report["dumps"][0]["path"]).stdout
    assert "stack overflow" in text
    assert "repeats" in text
    assert "main at" in text
    assert len(text.splitlines()) < 30


def test_a_running_process_runs_on(perimortem, start):
    program = start("many_threads", 50)
    document = json.loads(perimortem.call("stack", "--json", program.pid).stdout)
    assert len(document["threads"]) == 51
    assert all(thread["whole"] for thread in document["threads"])
    assert program.state == "S"
    assert document["paused_ms"] > 0


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("/etc/passwd", "not a minidump"),
        ("/nowhere/at.all", "No such file"),
        ("4194304", "there is no process"),
        ("/", "directory"),
    ],
)
def test_what_is_no_dump_is_refused_in_one_line(perimortem, what, words):
    for command in ("stack", "analyze"):
        result = perimortem.call(command, what)
        assert result.returncode == 1
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_py_spy_where_pystack_is_not(perimortem, start, tmp_path):
    if not (Path(sys.executable).with_name("py-spy")).exists():
        pytest.skip("py-spy is not installed")
    hidden = tmp_path / "hidden" / "pystack"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('no pystack')")
    perimortem.environment["PYTHONPATH"] = str(hidden.parent)
    program = start([find_python("3.11"), "-c", PYTHON])
    document = json.loads(perimortem.call("stack", "--json", program.pid).stdout)
    assert document["notes"] == []
    main = next(t for t in document["threads"] if t["tid"] == program.pid)
    names = [f["function"].rpartition(".")[2] for f in main["frames"] if f["language"] == "python"]
    assert names == ["visit", *["<lambda>", "visit"] * 3, "__init__", "<module>"]
    assert program.state == "S"


def test_debugging_symbols_from_a_server(perimortem, start, programs, tmp_path):
    """debuginfod-find asks a real server of files on this machine; only on request."""
    if shutil.which("debuginfod-find") is None:
        pytest.skip("debuginfod-find is not installed (make test-deps)")
    stripped = tmp_path / "program"
    shutil.copy(programs / "stacks-O2", stripped)
    subprocess.run(["strip", stripped], check=True)
    text = subprocess.run(["readelf", "-n", stripped], capture_output=True, text=True).stdout
    build_id = text.partition("Build ID: ")[2].split()[0]
    served = tmp_path / "served" / "buildid" / build_id
    served.mkdir(parents=True)
    shutil.copy(programs / "stacks-O2", served / "debuginfo")
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path / "served", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        port = server.stdout.readline().split("port ")[1].split()[0]
        perimortem.environment |= {
            "DEBUGINFOD_URLS": f"http://127.0.0.1:{port}",
            "DEBUGINFOD_CACHE_PATH": str(tmp_path / "cache-of-debuginfod"),
        }
        program = start([str(stripped), "mutual", "4"])
        plain = perimortem.call("stack", "--json", program.pid).stdout
        assert '"odd"' not in plain
        assert "--debuginfod" in plain
        asked = perimortem.call("stack", "--json", "--debuginfod", program.pid).stdout
        names = [f["function"] for f in json.loads(asked)["threads"][0]["frames"]]
        assert names.count("odd") == 2
    finally:
        server.kill()
        server.communicate()


def test_breakpad_symbols_for_a_stripped_program(perimortem, start, programs, tmp_path):
    copy, folder = tmp_path / "program", tmp_path / "symbols"
    shutil.copy(programs / "stacks-stripped", copy)
    folder.mkdir()
    notes = subprocess.run(["readelf", "-n", copy], capture_output=True, text=True).stdout
    from perimortem.symbols.wanted import derive_debug_id

    identity = derive_debug_id(bytes.fromhex(notes.partition("Build ID: ")[2].split()[0]))
    program = start([str(copy), "mutual", "4"])
    before = json.loads(perimortem.call("stack", "--json", program.pid).stdout)
    own = [f for f in before["threads"][0]["frames"] if f["module"] == "program"]
    assert {f["function"] for f in own} == {None}
    place = int(own[0]["module_offset"], 16)
    for wanted, name in ((identity, "rest"), ("0" * 33, None)):
        (folder / "program.sym").write_text(
            f"MODULE Linux x86_64 {wanted} program\nFILE 0 /src/rest.c\n"
            f"FUNC {place - 16:x} 20 0 rest\n{place - 16:x} 20 42 0\n"
        )
        result = perimortem.call("stack", "--json", program.pid, "--symbols", folder)
        document = json.loads(result.stdout)
        frame = next(f for f in document["threads"][0]["frames"] if f["module"] == "program")
        assert frame["function"] == name
        if name:
            assert (frame["source"]["file"], frame["source"]["line"]) == ("/src/rest.c", 42)
        else:
            assert any("another version" in m["text"] for m in document["missing"])


RUST = """
use std::sync::Mutex;
static LOCK: Mutex<i32> = Mutex::new(0);
fn main() {
    let _first = LOCK.lock().unwrap();
    println!("ready");
    let _second = LOCK.lock().unwrap();
}
"""


def test_inlined_functions_of_rust(perimortem, start, tmp_path):
    if not shutil.which("rustc"):
        pytest.skip("rustc is not installed, which is the only one that makes such programs")
    (tmp_path / "again.rs").write_text(RUST)
    argv = ["rustc", "-g", "-O", "again.rs", "-o", "again"]
    subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    running = start([str(tmp_path / "again")])

    def find_lock():
        document = json.loads(perimortem.call("stack", "--json", running.pid).stdout)
        frames = document["threads"][0]["frames"]
        return [f for f in frames if any("Mutex" in (i["function"] or "") for i in f["inlined"])]

    await_true(find_lock)
    (frame,) = [f for f in find_lock() if f["source"]["file"].endswith("again.rs")]
    assert "again::main" in frame["function"]
    assert frame["source"]["line"] == 7
