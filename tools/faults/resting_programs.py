"""Healthy programs that rest: servers without clients, pools without work, tools without a user."""

from __future__ import annotations

from dataclasses import dataclass

_HTTP_JAVA = """
import com.sun.net.httpserver.*;
import java.net.*;
public class Main {
  public static void main(String[] a) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    server.start();
  }
}
"""
_POOL_JAVA = """
import java.util.concurrent.*;
public class Main {
  public static void main(String[] a) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    for (int i = 0; i < 9; i++) pool.submit(() -> {});
    new CountDownLatch(1).await(1, TimeUnit.HOURS);
  }
}
"""
_MONITOR_JAVA = """
public class Main {
  public static void main(String[] a) throws Exception {
    Object lock = new Object();
    Thread other = new Thread(() -> { try { Thread.sleep(3600000); } catch (Exception e) {} });
    other.start();
    synchronized (lock) { lock.wait(3600000); }
  }
}
"""
_LOCKS_JAVA = """
import java.util.concurrent.*;
import java.util.concurrent.locks.*;
public class Main {
  static final Lock first = new ReentrantLock(true), second = new ReentrantLock();
  public static void main(String[] a) throws Exception {
    for (int i = 0; i < 4; i++) new Thread(Main::pass).start();
    BlockingQueue<String> queue = new ArrayBlockingQueue<>(4);
    for (int i = 0; i < 3; i++)
      new Thread(() -> { try { queue.take(); } catch (Exception e) {} }).start();
  }
  static void pass() {
    while (true) {
      first.lock();
      second.lock();
      try { Thread.sleep(20); } catch (Exception e) {}
      second.unlock();
      first.unlock();
    }
  }
}
"""
_HTTP_GO = """
package main
import "net"
import "net/http"
func main() { l, _ := net.Listen("tcp", "127.0.0.1:0"); http.Serve(l, nil) }
"""
_MUTEX_GO = """
package main
import ("sync"; "time")
func main() {
  var both sync.Mutex
  for i := 0; i < 6; i++ {
    go func() { for { both.Lock(); time.Sleep(20 * time.Millisecond); both.Unlock() } }()
  }
  work := make(chan int)
  for i := 0; i < 3; i++ { go func() { for range work {} }() }
  select {}
}
"""
_SIGNALS_GO = """
package main
import ("os"; "os/signal")
func main() { c := make(chan os.Signal, 1); signal.Notify(c); <-c }
"""
_POOL_GO = """
package main
import "time"
func main() {
  work := make(chan int)
  for i := 0; i < 8; i++ { go func() { for range work {} }() }
  for range time.Tick(time.Hour) { work <- 1 }
}
"""
_PARK_RUST = """
use std::{sync::mpsc, thread, time::Duration};
fn main() {
  let (send, receive) = mpsc::channel::<u8>();
  thread::spawn(move || { thread::sleep(Duration::from_secs(3600)); send.send(1).unwrap(); });
  receive.recv().unwrap();
}
"""
_SERVER_RUST = """
use std::{net::TcpListener, sync::{Arc, Condvar, Mutex}, thread};
fn main() {
  let pair = Arc::new((Mutex::new(false), Condvar::new()));
  for _ in 0..4 {
    let pair = pair.clone();
    thread::spawn(move || { let _g = pair.1.wait_while(pair.0.lock().unwrap(), |d| !*d); });
  }
  let server = TcpListener::bind("127.0.0.1:0").unwrap();
  for _ in server.incoming() { pair.1.notify_all(); }
}
"""
_OPENMP = """
#include <stdio.h>
#include <unistd.h>
int main(void) {
  int s = 0;
  #pragma omp parallel for reduction(+:s)
  for (int i = 0; i < 1000; i++) s += i;
  printf("%d\\n", s);
  sleep(3600);
}
"""
_CONDITION = """
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static void *work(void *_) { pthread_mutex_lock(&m); for (;;) pthread_cond_wait(&c, &m); return _; }
int main(void) {
  sigset_t set;
  pthread_t t;
  int got;
  sigfillset(&set);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  for (int i = 0; i < 4; i++) pthread_create(&t, NULL, work, NULL);
  sigwait(&set, &got);
}
"""
_NGINX = """
daemon off; pid nginx.pid; events {}
http { access_log off; server { listen unix:web.sock; } }
"""


@dataclass(frozen=True)
class Resting:
    """``script`` is run by ``sh`` in a folder for itself; ``prepare`` before, unwatched."""

    script: str
    needs: tuple[str, ...] = ()
    prepare: str = ""
    quiet: str = ""
    """Why it may be mentioned as quiet."""


def _compiled(file: str, code: str, compiler: str, build: str, *needs: str) -> Resting:
    return Resting("exec ./main", (compiler, *needs), f"{_write(file, code)}{build}")


def _write(file: str, code: str) -> str:
    return f"cat > {file} <<'END'\n{code}\nEND\n"


def _python(code: str, quiet: str = "") -> Resting:
    return Resting("exec python3 main.py", ("python3",), _write("main.py", code), quiet)


def _terminal(command: str, *needs: str) -> Resting:
    """In a pseudo-terminal whose user is away."""
    code = f"import pty\npty.spawn({command.split()!r})"
    prepare = _write("main.py", code) + "seq 9999 > text"
    return Resting("sleep 7200 | python3 main.py > shown", ("python3", *needs), prepare)


def _java(code: str) -> Resting:
    return Resting(
        "exec java Main", ("java", "javac"), _write("Main.java", code) + "javac Main.java"
    )


def _go(code: str) -> Resting:
    return _compiled("main.go", code, "go", "go build -o main main.go")


def _rust(code: str) -> Resting:
    return _compiled("main.rs", code, "rustc", "rustc -o main main.rs")


def _c(code: str, options: str = "-pthread") -> Resting:
    return _compiled("main.c", code, "cc", f"cc {options} -o main main.c")


def _node(code: str) -> Resting:
    return Resting("exec node main.js", ("node",), _write("main.js", code))


PROGRAMS = {
    # Servers
    "redis": Resting("exec redis-server --port 0 --unixsocket r.sock --save ''", ("redis-server",)),
    "nginx": Resting(
        'exec nginx -p "$PWD" -e error.log -c nginx.conf', ("nginx",), _write("nginx.conf", _NGINX)
    ),
    "postgres": Resting(
        "exec setpriv --reuid=65534 --regid=65534 --clear-groups "
        'postgres -D data/pg -k "$PWD/data" -c listen_addresses=',
        ("postgres", "initdb", "setpriv"),
        "mkdir data; chmod 777 . data; setpriv --reuid=65534 --regid=65534 --clear-groups "
        "initdb -D data/pg -A trust > log",
    ),
    "dbus-daemon": Resting(
        "exec dbus-daemon --session --nofork --address=unix:path=bus.sock", ("dbus-daemon",)
    ),
    "tmux server": Resting("exec tmux -S t.sock -D", ("tmux",)),
    "http.server": Resting("exec python3 -m http.server --bind 127.0.0.1 0", ("python3",)),
    "asyncio server": _python(
        "import asyncio\n"
        "async def main():\n"
        "    server = await asyncio.start_server(print, '127.0.0.1', 0)\n"
        "    await server.serve_forever()\n"
        "asyncio.run(main())"
    ),
    "uvicorn": Resting(
        "exec uvicorn --uds web.sock main:app",
        ("uvicorn",),
        _write("main.py", "async def app(scope, receive, send):\n    await receive()"),
    ),
    "gunicorn": Resting(
        "exec gunicorn --workers 2 --threads 3 --bind unix:web.sock main:app",
        ("gunicorn",),
        _write("main.py", "def app(environ, start_response):\n    return []"),
    ),
    "jupyter server": Resting(
        "exec jupyter-server --no-browser --allow-root --sock=$PWD/web.sock --ServerApp.token=",
        ("jupyter-server",),
    ),
    "celery worker": Resting(
        "exec celery -A main worker --pool=prefork --concurrency=2",
        ("celery",),
        _write(
            "main.py",
            "import celery\napp = celery.Celery(broker='filesystem://')\n"
            "here = {'data_folder_in': '.', 'data_folder_out': '.', 'control_folder': '.'}\n"
            "app.conf.broker_transport_options = here",
        ),
    ),
    "memcached": Resting("exec memcached -u root -s m.sock", ("memcached",)),
    "sshd": Resting(
        "exec /usr/sbin/sshd -D -e -f config",
        ("sshd", "ssh-keygen"),
        "mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f key; "
        "printf 'Port %d\\nListenAddress 127.0.0.1\\nHostKey %s/key\\nPidFile none\\n' "
        '"$(shuf -i 40000-60000 -n 1)" "$PWD" > config',
    ),
    "threading server": _python(
        "import socketserver\n"
        "h = socketserver.StreamRequestHandler\n"
        "socketserver.ThreadingTCPServer(('127.0.0.1', 0), h).serve_forever()"
    ),
    "server of datagrams": _python(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.bind(('127.0.0.1', 0))\ns.recv(9)"
    ),
    "node server": _node("require('http').createServer(() => {}).listen(0, '127.0.0.1');"),
    "node cluster": _node(
        "const c = require('cluster');\n"
        "if (c.isPrimary) { c.fork(); c.fork(); }\n"
        "else require('net').createServer(() => {}).listen('w.sock');"
    ),
    "node workers": _node(
        "const w = require('worker_threads');\n"
        "if (w.isMainThread) { new w.Worker(__filename); setInterval(() => {}, 3600000); }\n"
        "else w.parentPort.on('message', () => {});"
    ),
    "java server": _java(_HTTP_JAVA),
    "go server": _go(_HTTP_GO),
    "rust server": _rust(_SERVER_RUST),
    "perl server": Resting(
        "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 5); $s->accept'",
        ("perl",),
    ),
    # Pools and queues
    "pool of threads beside a server": _python(
        "import concurrent.futures, socket\n"
        "pool = concurrent.futures.ThreadPoolExecutor(4)\n"
        "list(pool.map(abs, range(99)))\n"
        "socket.create_server(('127.0.0.1', 0)).accept()"
    ),
    "pool of threads": _python(
        "import concurrent.futures, threading, time\n"
        "pool = concurrent.futures.ThreadPoolExecutor(4)\n"
        "list(pool.map(abs, range(99)))\n"
        "time.sleep(3600)"
    ),
    "multiprocessing.Pool": _python(
        "import multiprocessing, time\n"
        "with multiprocessing.Pool(3) as pool:\n"
        "    pool.map(abs, range(99))\n"
        "    time.sleep(3600)"
    ),
    "ProcessPoolExecutor": _python(
        "import concurrent.futures, time\n"
        "pool = concurrent.futures.ProcessPoolExecutor(3)\n"
        "list(pool.map(abs, range(99)))\n"
        "time.sleep(3600)"
    ),
    "spawned Pool": _python(
        "import multiprocessing, time\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n"
        "        pool.map(abs, range(99))\n"
        "        time.sleep(3600)"
    ),
    "queue whose producer sleeps": _python(
        "import queue, threading, time\n"
        "q = queue.Queue()\n"
        "threading.Thread(target=lambda: (time.sleep(3600), q.put(1))).start()\n"
        "q.get()"
    ),
    "queue between processes": _python(
        "import multiprocessing, time\n"
        "def produce(q): time.sleep(3600); q.put(1)\n"
        "q = multiprocessing.Queue()\n"
        "multiprocessing.Process(target=produce, args=(q,)).start()\n"
        "q.get()"
    ),
    "lock between processes": _python(
        "import multiprocessing, os, time\n"
        "lock = multiprocessing.Lock()\n"
        "if os.fork() == 0:\n"
        "    with lock: time.sleep(3600)\n"
        "time.sleep(1); lock.acquire()"
    ),
    "java pool": _java(_POOL_JAVA),
    "java monitor": _java(_MONITOR_JAVA),
    "java locks": _java(_LOCKS_JAVA),
    "go pool": _go(_POOL_GO),
    "go mutexes": _go(_MUTEX_GO),
    "rust channel": _rust(_PARK_RUST),
    "openmp after its loop": _c(_OPENMP, "-fopenmp"),
    "conditions, and a thread for signals": _c(_CONDITION),
    # That wait for signals, for time, for children
    "go signal.Notify": _go(_SIGNALS_GO),
    "python signal.pause": _python("import signal\nsignal.pause()"),
    "python sigwait": _python(
        "import signal\nsignal.pthread_sigmask(0, {15})\nsignal.sigwait({15})"
    ),
    "python daemon with SIGTERM": _python(
        "import signal, threading\nstop = threading.Event()\n"
        "signal.signal(signal.SIGTERM, lambda *_: stop.set())\nstop.wait()"
    ),
    "python Event": _python(
        "import threading\nthreading.Event().wait()", "only Ctrl-C ends it, as it is meant"
    ),
    "python alarm": _python(
        "import signal\nsignal.signal(signal.SIGALRM, print)\nsignal.alarm(3600)\nsignal.pause()"
    ),
    "python timed condition": _python("import threading\nthreading.Event().wait(3600)"),
    "python waits for a child": _python("import subprocess\nsubprocess.run(['sleep', '3600'])"),
    "python reads from a child": _python("import os\nos.popen('sleep 3600').read()"),
    "asyncio waits for a child": _python(
        "import asyncio\n"
        "async def main():\n"
        "    p = await asyncio.create_subprocess_exec('sleep', '3600')\n"
        "    await p.wait()\n"
        "asyncio.run(main())"
    ),
    "supervisor of idle children": _python(
        "import os, time\nfor _ in range(4):\n    if os.fork() == 0: time.sleep(3600)\nos.wait()"
    ),
    "threads of a supervisor": _python(
        "import subprocess, threading\n"
        "for _ in range(3):\n"
        "    p = subprocess.Popen(['sleep', '3600'])\n"
        "    threading.Thread(target=p.wait).start()"
    ),
    "flock of another": Resting(
        "(flock 9; exec sleep 3600) 9> lock & sleep 1; exec flock lock true", ("flock",)
    ),
    "fcntl lock of another": _python(
        "import fcntl, os, time\nf = open('lock', 'w')\n"
        "if os.fork() == 0: fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(3600)\n"
        "time.sleep(1); fcntl.lockf(f, fcntl.LOCK_EX)"
    ),
    "sleep": Resting("exec sleep 3600"),
    "timeout": Resting("exec timeout 3600 sleep 3600", ("timeout",)),
    "make": Resting("exec make", ("make",), "printf 'all:\\n\\tsleep 3600\\n' > Makefile"),
    "find -exec": Resting("exec find . -maxdepth 0 -exec sleep 3600 \\;", ("find",)),
    "xargs": Resting("sleep 3600 | exec xargs echo", ("xargs",)),
    "perl sleep": Resting("exec perl -e 'sleep 3600'", ("perl",)),
    "bash wait": Resting("exec bash -c 'sleep 3600 & sleep 3600 & wait'", ("bash",)),
    "bash coproc": Resting("exec bash -c 'coproc cat; sleep 3600'", ("bash",)),
    "bash trap": Resting("exec bash -c 'trap : USR1; sleep 3600 & wait'", ("bash",)),
    # That wait for input
    "pipeline": Resting("sleep 3600 | cat | sort | wc"),
    "reads a named pipe": Resting("mkfifo pipe; exec cat pipe"),
    "holds both ends of a named pipe": Resting("mkfifo pipe; exec cat <> pipe"),
    "tail -f": Resting("touch log; exec tail -f log", ("tail",)),
    "inotifywait": Resting("exec inotifywait -m .", ("inotifywait",)),
    "vim": _terminal("vim text", "vim"),
    "less": _terminal("less text", "less"),
    "top": _terminal("top", "top"),
    "watch": _terminal("watch -n 3600 true", "watch"),
    "bash at a terminal": _terminal("bash", "bash"),
    "python at a terminal": _terminal("python3"),
    "node at a terminal": _terminal("node", "node"),
    "sqlite3 at a terminal": _terminal("sqlite3", "sqlite3"),
    "gdb at a terminal": _terminal("gdb", "gdb"),
    "cat at a terminal": _terminal("cat"),
    "ssh-agent": Resting("exec ssh-agent -D -a a.sock", ("ssh-agent",)),
}
