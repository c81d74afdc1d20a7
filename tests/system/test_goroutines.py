"""Goroutines that wait: seen without a thread that waits for them, and without stopping the program."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from conftest import await_true, read_line_with

pytestmark = pytest.mark.system

# A server goes on serving; beside it two goroutines wait for each other, and others only rest.
LOCKS = """
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"time"
)

var first, second sync.Mutex
var table sync.RWMutex

func cross(a, b *sync.Mutex, both *sync.WaitGroup) {
	a.Lock()
	both.Done()
	both.Wait()
	b.Lock()
	os.Exit(9)
}

func pass(a *sync.Mutex) {
	for {
		a.Lock()
		time.Sleep(time.Millisecond)
		a.Unlock()
	}
}

func lookUp() {
	table.RLock()
	os.Exit(8)
}

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	if os.Args[1] == "circle" {
		var both sync.WaitGroup
		both.Add(2)
		go cross(&first, &second, &both)
		go cross(&second, &first, &both)
		table.Lock()
		go lookUp()
	} else {
		for i := 0; i < 8; i++ {
			go pass(&first)
		}
	}
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	go listener.Accept()
	go func() { for range time.Tick(20 * time.Millisecond) {} }()
	fmt.Println("ready")
	<-stop
}
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    if shutil.which("go") is None:
        pytest.skip("go is not installed, which is the only one that makes such programs")
    folder = tmp_path_factory.mktemp("go")
    (folder / "locks.go").write_text(LOCKS)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GO111MODULE": "off"}

    def build(*options):
        command = ["go", "build", *options, "-o", "locks", "locks.go"]
        subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)
        return folder / "locks"

    return build


def list_groups(document):
    (process,) = document["processes"]
    return {(tasks["place"], tasks["waits_for"]): tasks["count"] for tasks in process["tasks"]}


EXPECTED = {
    ("main.cross", "sync.Mutex.Lock"): 2,
    ("main.lookUp", "sync.RWMutex.RLock"): 1,
    ("main.main", "chan receive"): 1,
    ("net.(*netFD).accept", "IO wait"): 1,
    ("main.main.func1", "chan receive"): 1,
}


@pytest.mark.parametrize("options", [(), ("-buildmode=pie",), ("-gcflags=-N -l",)])
def test_what_each_goroutine_waits_for(begin, look, build, options):
    process = begin([build(*options), "circle"])
    assert process.stdout.readline() == b"ready\n"
    await_true(lambda: list_groups(look(process.pid)).items() >= EXPECTED.items())
    document = look(process.pid)
    assert (document["deadlocks"], document["suspected"]) == ([], [])


def test_a_stripped_program_shows_no_goroutines(begin, look, build):
    process = begin([build("-ldflags=-s -w"), "circle"])
    assert process.stdout.readline() == b"ready\n"
    assert list_groups(look(process.pid)) == {}


def test_a_lock_that_is_waited_for_too_long_is_mentioned(perimortem, build):
    monitor = perimortem.start(
        "run", "--threshold", "3", "--quiet-after", "6", "--no-stacks", "--", build(), "circle",
        stderr=subprocess.PIPE,
    )  # fmt: skip
    said = [read_line_with(monitor.stderr, ": quiet for 6") for _ in range(2)]
    monitor.terminate()
    monitor.communicate(timeout=60)
    assert any("wait in main.cross for sync.Mutex.Lock" in line for line in said)
    assert any("waits in main.lookUp for sync.RWMutex.RLock" in line for line in said)


def test_a_lock_that_is_passed_on_is_not_mentioned(perimortem, build):
    result = perimortem.call(
        "run", "--threshold", "3", "--quiet-after", "4", "--no-stacks", "--",
        "timeout", "16", build(), "pass",
    )  # fmt: skip
    assert "quiet" not in result.stderr
