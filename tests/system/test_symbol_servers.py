"""--symbols URL against a real HTTP server on loopback: debuginfod's layout, Microsoft's and Breakpad's.

And servers that lie, cut off, and lead elsewhere; `symbols check` and `symbols dump`.
"""

from __future__ import annotations

import gzip
import http.server
import json
import shutil
import subprocess
import threading
from itertools import takewhile
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT
from test_minidump_stackwalk import _TOOL
from test_pdb import check_frames, windows_program  # noqa: F401 - a fixture

from perimortem.dumping.open import open_snapshot
from perimortem.symbols.download import Failed, download
from perimortem.symbols.wanted import Wanted, list_keys

pytestmark = pytest.mark.system


class Server:
    """Serves a folder; ``answers`` has what is special, by path."""

    def __init__(self, folder):
        self.asked, self.answers = [], {}
        server = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self):
                server.asked.append(self.path)
                answer = server.answers.get(self.path)
                return answer(self) if answer is not None else super().do_GET()

            def log_message(self, *_):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    server = Server(folder)
    server.folder = folder
    yield server
    server.close()


@pytest.fixture
def stripped(perimortem, tmp_path):
    """(dump, program, its debug information apart from it), of a crash of a stripped program."""
    source = tmp_path / "crash.c"
    source.write_text(
        "static void strike(volatile int *p) { *p = 1; }\nint main(void) { strike(0); }\n"
    )
    program, debug = tmp_path / "crash", tmp_path / "crash.elsewhere"
    for command in (
        ["gcc", "-g", "-O0", source, "-o", program],
        ["objcopy", "--only-keep-debug", program, debug],
        ["strip", "-s", program],
    ):
        subprocess.run(command, check=True, timeout=60)
    report = perimortem.report(program)
    return Path(report["dumps"][0]["path"]), program, debug


def read_module(dump, index=0):
    with open_snapshot(dump) as snapshot:
        return snapshot.modules[index]


def validate(text, schema):
    """The document in ``text``, which is as docs/ says."""
    document = json.loads(text)
    jsonschema.validate(document, json.loads((ROOT / f"docs/{schema}.schema.json").read_text()))
    return document


def analyze(perimortem, dump, *options):
    result = perimortem.call("analyze", "--json", dump, *options)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def place(server, key, source):
    target = server.folder / key
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def test_debuginfod(perimortem, server, stripped):
    """The program itself as well, if it is not here; and nothing is asked twice."""
    dump, program, debug = stripped
    module = read_module(dump)
    assert analyze(perimortem, dump)["signature"]["blamed_function"] is None
    place(server, next(list_keys(module, Wanted.DEBUG)), debug)
    place(server, next(list_keys(module, Wanted.PROGRAM)), program)
    program.unlink()
    document = analyze(perimortem, dump, "--symbols", server.url)
    assert document["signature"]["blamed_function"] == "strike"
    frame = document["threads"][0]["frames"][0]
    assert (frame["source"]["line"], frame["trust"]) == (1, "context")
    assert document["threads"][0]["frames"][1]["trust"] == "cfi"
    server.asked.clear()
    analyze(perimortem, dump, "--symbols", server.url)
    assert not [path for path in server.asked if module.build_id.hex() in path]


@pytest.mark.parametrize("is_there", [True, False])
def test_debug_information_is_not_the_program(perimortem, tmp_path, is_there):
    """Its sections of code and of frames are empty: those of the program are used, if it is there."""
    source, program = tmp_path / "crash.c", tmp_path / "crash"
    source.write_text(
        "__attribute__((noinline)) "
        "void strike(volatile int *p, int n) { char b[n]; b[0] = 1; *p = *b; }\n"
        "int main(int argc, char **argv) { strike(0, argc + 100); return 1; }\n"
    )
    subprocess.run(["gcc", "-g", "-O2", "-no-pie", source, "-o", program], check=True, timeout=60)
    build_id = perimortem.call("symbols", "find", "--json", program, "--symbols", tmp_path).stdout
    build_id = json.loads(build_id)["build_id"]
    folder = tmp_path / "symbols" / ".build-id" / build_id[:2]
    folder.mkdir(parents=True)
    debug = folder / f"{build_id[2:]}.debug"
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True, timeout=60)
    subprocess.run(["strip", "-s", program], check=True, timeout=60)
    dump = perimortem.report(program)["dumps"][0]["path"]
    if not is_there:
        program.unlink()
    document = analyze(perimortem, dump, "--symbols", folder.parent.parent)
    frames = document["threads"][0]["frames"]
    assert [frame["function"] for frame in frames[:2]] == ["strike", "main"]
    assert [frame["source"]["line"] for frame in frames[:2]] == [1, 2]
    assert (frames[1]["trust"] == "cfi") is is_there
    checked = perimortem.call("symbols", "check", "--json", dump, "--symbols", folder.parent.parent)
    validate(checked.stdout, "symbol-check")
    module = next(m for m in json.loads(checked.stdout)["modules"] if m["module"] == str(program))
    assert module["program"] == (str(program) if is_there else None)
    assert (module["debug"], module["has_lines"]) == (str(debug), True)
    assert (module["missing"] is None) is is_there


def test_symbols_find(perimortem, server, stripped, tmp_path):
    """By build-id or by file; a status of 1 says that there is nothing."""
    dump, program, debug = stripped
    module = read_module(dump)
    place(server, next(list_keys(module, Wanted.DEBUG)), debug)
    build_id = module.build_id.hex()
    for what, there in ((build_id, None), (build_id.upper(), None), (program, str(program))):
        found = perimortem.call("symbols", "find", "--json", what, "--symbols", server.url)
        document = validate(found.stdout, "found-files")
        assert (found.returncode, document["program"]) == (0, there)
        assert document["build_id"] == build_id
        assert Path(document["debug"]).read_bytes() == debug.read_bytes()
    place(server, next(list_keys(module, Wanted.PROGRAM)), program)
    found = perimortem.call("symbols", "find", build_id, "--symbols", server.url)
    file = next(line for line in found.stdout.splitlines() if line.startswith("  file "))
    assert Path(file.split()[1]).read_bytes() == program.read_bytes()
    nothing = perimortem.call("symbols", "find", "ab" * 20, "--symbols", tmp_path, "--tried")
    assert nothing.returncode == 1
    assert f"  tried   program: {tmp_path}/.build-id/ab/{'ab' * 19}: not there" in nothing.stdout
    text = tmp_path / "text"
    text.write_text("no program")
    for what, why in (("nonsense", "it is no build-id in hex"), (text, "not an ELF image")):
        refused = perimortem.call("symbols", "find", what)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert why in refused.stderr


def test_the_layout_of_microsoft(perimortem, server, windows_program):  # noqa: F811
    folder, dump = windows_program
    module = read_module(dump)
    place(server, next(list_keys(module, Wanted.SYMBOLS)), folder / "program.pdb")
    place(server, next(list_keys(module, Wanted.PROGRAM)), folder / "program.exe")
    document = analyze(perimortem, dump, "--symbols", server.url)
    check_frames(document["threads"][0]["frames"])


def test_breakpads_symbol_files_packed(perimortem, server, stripped, tmp_path):
    """As Tecken sends them: with Content-Encoding gzip."""
    dump, program, debug = stripped
    unstripped = tmp_path / "whole" / "crash"
    unstripped.parent.mkdir()
    subprocess.run(["eu-unstrip", program, debug, "-o", unstripped], check=True, timeout=60)
    made = perimortem.call("symbols", "dump", unstripped)
    (key,) = list_keys(read_module(dump), Wanted.SYMBOLS)
    packed = gzip.compress(made.stdout.encode())

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(packed)))
        handler.end_headers()
        handler.wfile.write(packed)

    server.answers[f"/{key}"] = answer
    program.unlink()
    document = analyze(perimortem, dump, "--symbols", server.url)
    frames = document["threads"][0]["frames"]
    assert [frame["function"] for frame in frames[:2]] == ["strike", "main"]
    assert [frame["source"]["line"] for frame in frames[:2]] == [1, 2]
    assert frames[1]["trust"] == "cfi"


def test_a_file_of_another_version_is_refused(perimortem, server, stripped):
    dump, _, _ = stripped
    module = read_module(dump)
    place(server, next(list_keys(module, Wanted.DEBUG)), "/bin/true")
    document = analyze(perimortem, dump, "--symbols", server.url)
    assert document["signature"]["blamed_function"] is None
    checked = json.loads(
        perimortem.call("symbols", "check", "--json", dump, "--symbols", server.url).stdout
    )
    found = next(m for m in checked["modules"] if m["build_id"] == module.build_id.hex())
    assert found["names"] == "none"
    outcomes = {t["outcome"] for t in found["tried"] if t["wanted"] == "debug information"}
    assert "another version, or no ELF file" in outcomes


def test_a_server_that_is_not_there_is_one_answer(perimortem, stripped):
    dump, _, _ = stripped
    document = analyze(perimortem, dump, "--symbols", "http://127.0.0.1:9")
    assert "null pointer" in document["reason"]["text"]
    checked = perimortem.call(
        "symbols", "check", dump, "--tried", "--symbols", "http://127.0.0.1:9"
    ).stdout
    assert "Connection refused" in checked


def lead_to(address):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", address)
        handler.end_headers()

    return answer


def cut_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"x" * 10)


def cut_off_packed(handler):
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    handler.wfile.write(gzip.compress(b"x" * 100_000)[:-20])


def no_http(handler):
    handler.wfile.write(b"\0\1\2\3\n\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lead_to("file:///etc/passwd"), "HTTP status 302"),
        (lead_to("ftp://127.0.0.1/x"), "not HTTP"),
        (cut_off, "cut off"),
        (cut_off_packed, "cut off"),
        (no_http, "."),
        (lambda handler: handler.send_error(500), "HTTP status 500"),
        (lambda handler: handler.send_error(404), "not there"),
    ],
    ids=["file", "ftp", "cut", "cut-gzip", "noise", "500", "404"],
)
def test_what_a_server_may_do_instead(server, tmp_path, answer, why):
    server.answers["/a/b"] = answer
    folder = tmp_path / "kept"
    with pytest.raises(Failed, match=why):
        download(server.url, "a/b", folder)
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_a_bomb_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr("perimortem.symbols.download._FILE_MAX", 1 << 20)

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.end_headers()
        handler.wfile.write(gzip.compress(bytes(64 << 20)))

    server.answers["/bomb"] = answer
    with pytest.raises(Failed, match="larger than"):
        download(server.url, "bomb", tmp_path / "kept")
    assert not [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]


def test_symbols_check_names_the_place_and_the_remedy(perimortem, stripped, tmp_path):
    dump, program, debug = stripped
    text = perimortem.call("symbols", "check", dump, "--tried").stdout
    assert (
        f"missing stripped, so that only exported names are known; --symbols DIR with {program.name}"
        in text
    )
    assert f"tried   debug information: {program}.debug: not there" in text
    folder = tmp_path / "symbols"
    folder.mkdir()
    shutil.copy(debug, folder / f"{program.name}.debug")
    checked = json.loads(
        perimortem.call("symbols", "check", "--json", dump, "--symbols", folder).stdout
    )
    found = next(m for m in checked["modules"] if m["module"] == str(program))
    assert (found["missing"], found["has_lines"]) == (None, True)
    ours = [m["missing"] for m in checked["modules"] if "libperimortem" in m["module"]]
    assert set(ours) == {None}, "our own libraries need no symbols"
    assert found["debug"] == str(folder / f"{program.name}.debug")


@pytest.mark.parametrize(
    ("build", "kind"),
    [("stacks-O2", "crash"), ("stacks-O0", "crash"), ("faults", "null-field")],
)
def test_minidump_stackwalk_reads_the_symbol_file_that_we_make(
    perimortem, programs, tmp_path, build, kind
):
    if _TOOL is None:
        pytest.skip("minidump-stackwalk is not installed")
    dump = perimortem.report(programs / build, kind)["dumps"][0]["path"]
    symbols = tmp_path / "symbols"
    assert perimortem.call("symbols", "dump", programs / build, "-o", symbols).returncode == 0
    answer = subprocess.run(
        [_TOOL, "--json", "--symbols-path", symbols, dump],
        capture_output=True,
        text=True,
        timeout=60,
    )
    theirs = json.loads(answer.stdout)["crashing_thread"]["frames"]
    ours = analyze(perimortem, dump)["threads"][0]["frames"]
    # It has no symbols of the C library: beyond main it searches.
    own = takewhile(lambda frame: frame["module"] == build, ours)
    pairs = list(zip(own, theirs, strict=False))
    assert pairs[-1][0]["function"] == "main"
    for our, their in pairs:
        assert their["function"] == our["function"]
        innermost = (their["inlines"] or [their])[0]  # it has them apart from the function
        assert innermost["line"] == (our["inlined"] or [our["source"]])[0]["line"]
        if our["number"]:
            assert their["trust"] == "cfi"


def test_a_symbol_place_that_is_none(perimortem):
    result = perimortem.call("analyze", "x.dmp", "--symbols", "ftp://somewhere")
    assert result.returncode == 2
    assert "'ftp://somewhere' is no directory, and no URL" in result.stderr
