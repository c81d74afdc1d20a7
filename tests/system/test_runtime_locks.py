"""Locks that only the runtime of a language knows: Java's monitors, Python's GIL, locks of Rust."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest
from conftest import await_true, find_python, read_line_with

pytestmark = pytest.mark.system

JAVA = """
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

public class Locks {
    static final Object A = new Object(), B = new Object();
    static final Lock C = new ReentrantLock(true), D = new ReentrantReadWriteLock().writeLock();
    static int count;

    public static void main(String[] arguments) throws Exception {
        CyclicBarrier both = new CyclicBarrier(2);
        if (arguments[0].equals("circle")) {
            new Thread(() -> cross(A, B, both), "left").start();
            new Thread(() -> cross(B, A, both), "right").start();
        } else if (arguments[0].equals("locks")) {
            new Thread(() -> cross(C, D, both), "left").start();
            new Thread(() -> cross(D, C, both), "right").start();
            new Thread(() -> { try { new CountDownLatch(1).await(); } catch (Exception e) {} }).start();
        } else {
            for (int i = 0; i < 4; i++) new Thread(Locks::contend, "worker").start();
        }
        System.out.println("ready");
        while (true) Thread.sleep(20);
    }

    static void cross(Object first, Object second, CyclicBarrier both) {
        synchronized (first) {
            try { both.await(); } catch (Exception e) { System.exit(8); }
            synchronized (second) { System.exit(9); }
        }
    }

    static void cross(Lock first, Lock second, CyclicBarrier both) {
        first.lock();
        try { both.await(); } catch (Exception e) { System.exit(8); }
        second.lock();
        System.exit(9);
    }

    static void contend() {
        while (true) {
            C.lock();
            D.lock();
            count++;
            D.unlock();
            C.unlock();
            synchronized (A) { count++; }
            synchronized (B) { count++; }
            synchronized (A) { synchronized (B) { count++; } }
        }
    }
}
"""
ENGINE = """
#include <pthread.h>
#include <time.h>
#include <unistd.h>
static pthread_mutex_t engine = PTHREAD_MUTEX_INITIALIZER;
void run(void (*call)(void)) {
    pthread_mutex_lock(&engine);
    usleep(300000);
    call();
    pthread_mutex_unlock(&engine);
}
void query(void) { pthread_mutex_lock(&engine); pthread_mutex_unlock(&engine); }
void rest(void) { sleep(90); }
void compute(void) {
    time_t end = time(NULL) + 90;
    while (time(NULL) < end) continue;
}
"""
# A mutex of C is held by who waits for the GIL, and the GIL by who waits for that mutex.
GIL = """
import ctypes, sys, threading, time
free, held = ctypes.CDLL(sys.argv[1]), ctypes.PyDLL(sys.argv[1])
call = ctypes.CFUNCTYPE(None)(lambda: None)
threading.Thread(target=free.run, args=(call,)).start()
time.sleep(0.1)
print("ready", flush=True)
held.query()
"""
GIL_KEPT = """
import ctypes, os, sys, threading, time
held = ctypes.PyDLL(sys.argv[1])
def work():
    while True:
        time.sleep(0.01)
threading.Thread(target=work).start()
time.sleep(0.1)
print("ready", flush=True)
held.rest()
os._exit(0)
"""
GIL_RUN = GIL_KEPT.replace("held.rest()", "held.compute()")
GIL_BUSY = """
import threading
def work():
    count = 0
    while True:
        count += 1
for _ in range(4):
    threading.Thread(target=work).start()
print("ready", flush=True)
"""
RUST = """
use std::sync::{Arc, Barrier, Mutex, RwLock};
use std::{thread, time::Duration};
fn cross(a: Arc<Mutex<u64>>, b: Arc<Mutex<u64>>, both: Arc<Barrier>) {
    let _first = a.lock().unwrap();
    both.wait();
    let _second = b.lock().unwrap();
    std::process::exit(9);
}
fn main() {
    let (a, b) = (Arc::new(Mutex::new(0u64)), Arc::new(Mutex::new(0u64)));
    let both = Arc::new(Barrier::new(2));
    for (a, b) in [(a.clone(), b.clone()), (b, a)] {
        let both = both.clone();
        thread::spawn(move || cross(a, b, both));
    }
    let kept = Arc::new(RwLock::new(0u64));
    let wanted = kept.clone();
    let _guard = kept.write().unwrap();
    thread::spawn(move || { let _guard = wanted.read().unwrap(); std::process::exit(8) });
    thread::spawn(|| thread::park());
    let (_sender, receiver) = std::sync::mpsc::channel::<u8>();
    thread::spawn(move || receiver.recv());
    println!("ready");
    for _ in 0..SECONDS * 50 { thread::sleep(Duration::from_millis(20)); }
    std::hint::black_box(&_sender);
    std::process::exit(3);
}
"""


@pytest.fixture(scope="module")
def java(tmp_path_factory):
    if shutil.which("javac") is None or shutil.which("java") is None:
        pytest.skip("no JDK is installed, which is the only one that makes and runs such programs")
    folder = tmp_path_factory.mktemp("java")
    (folder / "Locks.java").write_text(JAVA)
    subprocess.run(["javac", "-d", folder, folder / "Locks.java"], check=True, timeout=100)
    return lambda kind, *options: ["java", "-Xmx64m", *options, "-cp", str(folder), "Locks", kind]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    (folder / "engine.c").write_text(ENGINE)
    library = folder / "libengine.so"
    command = ["cc", "-shared", "-fPIC", "-pthread", "-o", library, folder / "engine.c"]
    subprocess.run(command, check=True)
    return library


@pytest.fixture(scope="module")
def rust(tmp_path_factory):
    if shutil.which("rustc") is None:
        pytest.skip("rustc is not installed, which is the only one that makes such programs")
    folder = tmp_path_factory.mktemp("rust")
    (folder / "locks.rs").write_text(RUST.replace("SECONDS", "15"))
    subprocess.run(["rustc", "-O", "-o", folder / "locks", folder / "locks.rs"], check=True)
    return folder / "locks"


def find_deadlock(look, pid):
    """The look that has found it: one may miss a thread that wakes again and again, and is awake."""
    found = {}

    def is_found():
        found.update(look(pid))
        return found["deadlocks"]

    await_true(is_found, 60)
    return found


def find_places(document, tids):
    threads = [thread for process in document["processes"] for thread in process["threads"]]
    return [thread for thread in threads if thread["tid"] in tids]


def test_two_monitors_beside_a_thread_that_works(begin, look, java):
    process = begin(java("circle"))
    assert process.stdout.readline() == b"ready\n"
    document = find_deadlock(look, process.pid)
    (deadlock,) = document["deadlocks"]
    stuck = find_places(document, deadlock["circle"])
    assert sorted(thread["name"] for thread in stuck) == ["left", "right"]
    assert "waits for Java monitor 0x" in " waits for " + stuck[0]["text"]
    assert stuck[0]["wakers"] == [stuck[1]["tid"]]


def test_monitors_that_are_passed_on(begin, look, java):
    """Thousands of times a second."""
    process = begin(java("contend"))
    assert process.stdout.readline() == b"ready\n"
    for _ in range(10):
        document = look(process.pid)
        assert (document["deadlocks"], document["suspected"]) == ([], [])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-XX:+UseSerialGC", "-XX:-UseCompressedOops", "-XX:-UseCompressedClassPointers"),
        ("-XX:+UseParallelGC", "-XX:HeapBaseMinAddress=64g"),
        ("-XX:+UseZGC",),
    ],
)
def test_two_locks_of_java_beside_a_thread_that_works(begin, look, java, options):
    process = begin(java("locks", *options))
    assert process.stdout.readline() == b"ready\n"
    found = {}

    def is_found():
        found.update(look(process.pid))
        return found["suspected"]

    await_true(is_found, 60)
    (suspected,) = found["suspected"]
    stuck = find_places(found, suspected["circle"])
    assert sorted(thread["name"] for thread in stuck) == ["left", "right"]
    first, second = sorted(stuck, key=lambda thread: thread["text"])
    assert first["text"] == f"a ReentrantLock, held by {second['tid']} ({second['name']})"
    assert second["text"].startswith("a ReentrantReadWriteLock, held by ")


def test_run_reports_a_deadlock_of_java(perimortem, java):
    """Its threads wake once a second, and wait again."""
    report = perimortem.report(
        *java("circle"), options=("--threshold", "3", "--on-hang", "kill", "--no-stacks")
    )
    (hang,) = report["hangs"]
    assert "deadlock of 2 threads of java[" in hang["state"]
    assert "Java monitor" in hang["state"]
    assert report["_status"] == 124


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_gil_against_a_mutex(begin, look, engine, version):
    process = begin([find_python(version), "-c", GIL, engine])
    assert process.stdout.readline() == b"ready\n"
    document = find_deadlock(look, process.pid)
    (deadlock,) = document["deadlocks"]
    stuck = find_places(document, deadlock["circle"])
    assert sorted(thread["text"][:5] for thread in stuck) == ["Pytho", "lock "]
    assert f"held by {process.pid} " in json.dumps(document)


def test_run_reports_the_gil_against_a_mutex(perimortem, engine):
    """A thread that waits for the GIL wakes 200 times a second."""
    report = perimortem.report(
        find_python("3.11"), "-c", GIL, engine,
        options=("--threshold", "3", "--on-hang", "kill", "--no-stacks"),
    )  # fmt: skip
    (hang,) = report["hangs"]
    assert "Python's GIL" in hang["state"]
    assert report["_status"] == 124


@pytest.mark.parametrize(
    ("script", "what"), [(GIL_KEPT, "which waits for a time"), (GIL_RUN, "which runs")]
)
def test_the_gil_is_kept_by_a_call_that_does_not_end(perimortem, engine, script, what):
    options = ("--threshold", "3", "--quiet-after", "4", "--no-stacks")
    monitor = perimortem.start("run", *options, "--", find_python("3.11"), "-c", script, engine)
    line = read_line_with(monitor.stderr, "for Python's GIL, held by")
    assert "waits in work (<string>:6) for" in line
    assert what in line
    monitor.terminate()
    monitor.wait()


def test_the_gil_is_passed_on(begin, look):
    process = begin([find_python("3.11"), "-c", GIL_BUSY])
    assert process.stdout.readline() == b"ready\n"
    for _ in range(5):
        document = look(process.pid)
        assert (document["deadlocks"], document["suspected"]) == ([], [])
        time.sleep(0.1)


NODE = """
const { Worker, isMainThread, workerData } = require('worker_threads');
if (isMainThread) {
  const shared = new Int32Array(new SharedArrayBuffer(16));
  new Worker(__filename, { workerData: shared });
  Atomics.wait(shared, 2, 0);   // until the worker is up
  require('fs').writeSync(1, 'ready\\n');
  Atomics.wait(shared, 0, 0);   // for the worker, which waits for us
} else {
  Atomics.store(workerData, 2, 1);
  Atomics.notify(workerData, 2);
  Atomics.wait(workerData, 1, 0);
  Atomics.store(workerData, 0, 1);
  Atomics.notify(workerData, 0);
}
"""
NODE_RESTS = """
const { Worker, isMainThread, workerData } = require('worker_threads');
if (isMainThread) {
  const shared = new Int32Array(new SharedArrayBuffer(4));
  new Worker(__filename, { workerData: shared });
  setTimeout(() => process.exit(0), 12000);
} else {
  Atomics.wait(workerData, 0, 0);
}
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node to run such programs")
def test_the_main_thread_of_node_waits_for_a_worker_that_waits_for_it(perimortem, tmp_path):
    (tmp_path / "main.js").write_text(NODE)
    monitor = perimortem.start(
        "run", "--threshold", "3", "--quiet-after", "4", "--no-stacks",
        "--", "node", tmp_path / "main.js", stderr=subprocess.PIPE,
    )  # fmt: skip
    said = read_line_with(monitor.stderr, "quiet for 4")
    assert "waits for Atomics.wait, which other threads of the process can end" in said
    monitor.terminate()
    monitor.communicate(timeout=60)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node to run such programs")
def test_a_worker_of_node_may_rest_so(perimortem, tmp_path):
    (tmp_path / "main.js").write_text(NODE_RESTS)
    options = ("--threshold", "3", "--quiet-after", "4", "--no-stacks")
    result = perimortem.call("run", *options, "--", "node", tmp_path / "main.js")
    assert result.returncode == 0
    assert "quiet" not in result.stderr


OPENMP = """
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    int count = 0;
    #pragma omp parallel num_threads(4) reduction(+ : count)
    count++;
    pid_t child = fork();
    if (!child) {
        #pragma omp parallel num_threads(4) reduction(+ : count)
        count++;
        _exit(count != 8);
    }
    waitpid(child, NULL, 0);
}
"""
CPP = """
#include <barrier>
#include <chrono>
#include <mutex>
#include <shared_mutex>
#include <thread>
std::shared_mutex table;
std::mutex cache;
std::barrier both(2);
int main() {
    std::thread writer([] {
        std::unique_lock held(table);
        both.arrive_and_wait();
        std::lock_guard wanted(cache);
    });
    std::thread reader([] {
        std::lock_guard held(cache);
        both.arrive_and_wait();
        std::shared_lock wanted(table);
    });
    for (;;) std::this_thread::sleep_for(std::chrono::milliseconds(20));
}
"""


def compile_program(folder, name, source, *options):
    path = folder / name
    path.write_text(source)
    command = ["c++" if name.endswith(".cc") else "cc", *options, "-pthread"]
    subprocess.run([*command, "-o", folder / "program", path], check=True)
    return folder / "program"


def test_openmp_in_the_child_of_a_fork(begin, look, tmp_path):
    """Its team of threads has not come along."""
    process = begin([compile_program(tmp_path, "team.c", OPENMP, "-O1", "-fopenmp")])
    document = find_deadlock(look, process.pid)
    (deadlock,) = document["deadlocks"]
    child = next(p for p in document["processes"] if p["parent_pid"] == process.pid)
    assert deadlock["circle"] == [child["pid"]]
    assert process.pid in deadlock["waiting"]


def test_two_threads_of_cpp_beside_one_that_works(begin, look, tmp_path):
    process = begin([compile_program(tmp_path, "two.cc", CPP, "-O1", "-std=c++20")])
    (deadlock,) = find_deadlock(look, process.pid)["deadlocks"]
    assert len(deadlock["circle"]) == 2
    assert process.pid not in deadlock["circle"]


def test_locks_of_rust(begin, look, rust):
    """Which of them is held by whom is not known; a thread that only rests waits for no lock."""
    process = begin([rust])
    assert process.stdout.readline() == b"ready\n"

    def list_kinds():
        document = look(process.pid)
        assert document["deadlocks"] == []
        return sorted(
            t["text"].split(" at ")[0] for p in document["processes"] for t in p["threads"]
        )

    expected = ["Rust mutex", "Rust mutex", "Rust read-write lock", "a lock or a condition"]
    await_true(lambda: list_kinds()[:4] == expected)


def test_a_lock_of_rust_is_mentioned_while_others_run(perimortem, rust):
    options = ("--threshold", "3", "--quiet-after", "4", "--no-stacks")
    result = perimortem.call("run", *options, "--", rust)
    assert result.stderr.count("waits for Rust mutex at 0x") == 4, (
        "two of them, when they are found and in the account of the end"
    )
    assert "HANG" not in result.stderr
    assert result.returncode == 3
