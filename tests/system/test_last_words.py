"""What a command printed last on standard error: kept where it can be seen, and understood."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.system
TRACEBACK = "import sys; print('out'); print('to err', file=sys.stderr); [][3]"


def test_with_keep_output_the_end_is_in_the_report(perimortem):
    result = perimortem.call("run", "--keep-output", "-q", "--", sys.executable, "-c", TRACEBACK)
    assert result.returncode == 1
    assert result.stdout == "out\n"
    assert result.stderr.startswith("to err\nTraceback")
    assert "said    Python: IndexError: list index out of range" in result.stderr
    report = json.loads(perimortem.call("show", "--json").stdout)
    last = report["last_words"]
    assert last["kind"] == "python-error"
    assert last["said"] == "IndexError: list index out of range"
    assert last["text"].startswith("to err\nTraceback")
    shown = perimortem.call("show").stdout
    assert "stderr  its end, from stderr, through perimortem:" in shown
    assert "Traceback (most recent call last):" in shown


def test_a_file_is_read_without_being_in_between(perimortem, tmp_path):
    """Only what the command wrote; and the command has the file itself."""
    log = tmp_path / "log"
    log.write_text("panic: an earlier run\n\ngoroutine 1 [running]:\n")
    code = "import os; assert os.fstat(2).st_size; " + TRACEBACK
    with open(log, "ab") as file:
        subprocess.run(
            [sys.executable, "-m", "perimortem", "run", "-q", "--", sys.executable, "-c", code],
            stdout=subprocess.PIPE, stderr=file, env=perimortem.env, timeout=60,
        )  # fmt: skip
    last = json.loads(perimortem.call("show", "--json").stdout)["last_words"]
    assert last["source"] == "the file that stderr is"
    assert last["kind"] == "python-error"
    assert "earlier run" not in last["text"]


def test_without_it_a_pipe_is_left_alone(perimortem):
    """What we could only see from in between is not kept unless that is asked for."""
    code = "import os, sys; print(os.readlink('/proc/self/fd/2'), file=sys.stderr); [][3]"
    perimortem.call("run", "-q", "--", sys.executable, "-c", code)
    assert json.loads(perimortem.call("show", "--json").stdout)["last_words"] is None


def test_secrets_in_it_are_redacted_and_it_is_not_shared(perimortem):
    code = "import sys; print('password=hunter22', file=sys.stderr); raise SystemExit('no good')"
    perimortem.call("run", "--keep-output", "-q", "--", sys.executable, "-c", code)
    last = json.loads(perimortem.call("show", "--json").stdout)["last_words"]
    assert "hunter22" not in last["text"]
    assert "no good" in last["text"]
    shared = json.loads(perimortem.call("show", "--share", "--json").stdout)["last_words"]
    assert shared["text"] == "[removed]"


def test_a_clean_exit_keeps_nothing(perimortem):
    code = "import sys; print('a warning', file=sys.stderr)"
    perimortem.call("run", "--keep-output", "-q", "--", sys.executable, "-c", code)
    assert "a warning" not in perimortem.call("list", "--all", "--json").stdout


GO_SOURCE = """package main
import "os"
type server struct{ name string }
func main() {
\tvar s *server
\tif len(os.Args) > 1 {
\t\tdone := make(chan bool)
\t\t<-done
\t}
\tprintln(s.name)
}
"""


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ((), "go-panic", "nil pointer dereference"),
        (("x",), "go-fatal-error", "all goroutines are asleep"),
    ],
)
def test_go(perimortem, tmp_path, arguments, kind, said):
    if shutil.which("go") is None:
        pytest.skip("there is no Go compiler here")
    (tmp_path / "main.go").write_text(GO_SOURCE)
    subprocess.run(
        ["go", "build", "-o", tmp_path / "server", tmp_path / "main.go"],
        env={**os.environ, "GOFLAGS": "-mod=mod", "GO111MODULE": "off",
             "GOCACHE": str(tmp_path / "c")},
        check=True, capture_output=True, timeout=200,
    )  # fmt: skip
    perimortem.call("run", "--keep-output", "-q", "--", tmp_path / "server", *arguments)
    report = json.loads(perimortem.call("show", "--json").stdout)
    assert report["exit"]["code"] == 2
    last = report["last_words"]
    assert last["kind"] == kind
    assert said in last["said"]
    assert "main.go:" in last["place"]


def test_rust(perimortem, tmp_path):
    if shutil.which("rustc") is None:
        pytest.skip("there is no Rust compiler here")
    (tmp_path / "x.rs").write_text(
        'fn main() { let none: Option<u8> = None; none.expect("no config"); }'
    )
    subprocess.run(
        ["rustc", "-o", tmp_path / "x", tmp_path / "x.rs"],
        check=True,
        capture_output=True,
        timeout=200,
    )
    perimortem.call("run", "--keep-output", "-q", "--", tmp_path / "x")
    last = json.loads(perimortem.call("show", "--json").stdout)["last_words"]
    assert (last["kind"], last["said"]) == ("rust-panic", "no config")


def test_node_runs_out_of_memory(perimortem, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js here")
    script = "const keep = []; for (let i = 0; ; i++) keep.push(new Array(1000).fill(i));"
    perimortem.call(
        "run", "--keep-output", "-q", "--", "node", "--max-old-space-size=30", "-e", script
    )
    report = json.loads(perimortem.call("show", "--json").stdout)
    assert report["verdict"] == "crash"
    assert report["last_words"]["kind"] == "node-fatal-error"
    assert "out of memory" in report["last_words"]["said"]


def test_a_java_vm_is_explained_by_the_fault_that_it_handled(perimortem, tmp_path):
    if shutil.which("javac") is None:
        pytest.skip("there is no Java compiler here")
    (tmp_path / "Crash.java").write_text(
        "public class Crash { public static void main(String[] a) throws Exception { java.lang.reflect."
        'Field f = sun.misc.Unsafe.class.getDeclaredField("theUnsafe"); f.setAccessible(true); '
        "((sun.misc.Unsafe) f.get(null)).putAddress(0, 0); } }"
    )
    subprocess.run(
        ["javac", "Crash.java"], cwd=tmp_path, check=True, capture_output=True, timeout=200
    )
    perimortem.call("run", "-q", "--", "java", "-cp", ".", "Crash", cwd=tmp_path)
    report = json.loads(perimortem.call("show", "--json").stdout)
    text = report["examination"]["reason"]["text"]
    assert "write of 8 bytes to 0x0" in text
    assert "its handler of SIGSEGV, JVM_handle_linux_signal, then called abort()" in text
    last = report["last_words"]
    assert last["kind"] == "jvm-fatal-error"
    assert last["file"].startswith(f"{tmp_path}/hs_err_pid")
    assert "libjvm.so" in last["said"]


LIBRARY = "int answer(void) { return 42; }"
USER = "extern int answer(void); int main(void) { return answer() - 42; }"


@pytest.fixture
def linked(tmp_path):
    """A program, and a way to replace its library."""

    def make_library(source, *options):
        (tmp_path / "l.c").write_text(source)
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "l.c", "-Wl,-soname,libanswer.so", *options, "-o",
             "libanswer.so"],
            cwd=tmp_path, check=True, timeout=60,
        )  # fmt: skip

    def make_program():
        (tmp_path / "user.c").write_text(USER)
        subprocess.run(
            ["gcc", "user.c", "-L.", "-lanswer", f"-Wl,-rpath,{tmp_path}", "-o", "user"],
            cwd=tmp_path, check=True, timeout=60,
        )  # fmt: skip
        return tmp_path / "user"

    return make_library, make_program


def test_a_symbol_that_its_library_lacks(perimortem, linked):
    make_library, make_program = linked
    make_library(LIBRARY)
    program = make_program()
    make_library("int other(void) { return 0; }")
    report = perimortem.report(program)
    assert report["verdict"] == "launch-failed"
    error = f"undefined symbol answer, which {program} needs of its libraries"
    assert report["exit"]["text"] == f"exited with status 127: {error}"
    assert report["who"]["source"] == "dynamic linker"


def test_a_library_that_is_not_there(perimortem, linked, tmp_path):
    make_library, make_program = linked
    make_library(LIBRARY)
    program = make_program()
    (tmp_path / "libanswer.so").unlink()
    report = perimortem.report(program)
    assert report["verdict"] == "launch-failed"
    text = report["exit"]["text"]
    assert text == "exited with status 127: the library libanswer.so was not found"


def test_a_version_that_its_library_lacks(perimortem, linked, tmp_path):
    make_library, make_program = linked
    script = tmp_path / "v.map"
    script.write_text("V1 { global: answer; };")
    make_library(LIBRARY, f"-Wl,--version-script={script}")
    program = make_program()
    script.write_text("V2 { global: answer; };")
    make_library(LIBRARY, f"-Wl,--version-script={script}")
    report = perimortem.report(program)
    assert report["verdict"] == "launch-failed"
    assert "needs version V1 of" in report["exit"]["text"]


def test_a_program_that_exits_with_127_by_itself_is_no_launch_failure(perimortem):
    report = perimortem.report(sys.executable, "-c", "import os; os._exit(127)")
    assert report["verdict"] != "launch-failed"
