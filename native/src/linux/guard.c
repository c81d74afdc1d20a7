/* spawn_and_attach: find the monitor or start it, register, and have crashes reported to it.
 *
 * No descriptor stays open in the program: the monitor holds our pid, and a crash opens its own socket.
 * A monitor that is started here is a daemon: it is not waited for, gets no Ctrl-C from our terminal,
 * and inherits none of our descriptors. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../crash.h"
#include "../lock.h"
#include "../recorder.h"
#include "perimortem.h"
#include "raw.h"
#include "wire.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#define CONNECT_TIMEOUT_S 5.0
#define ANSWER_TIMEOUT_S 10.0
#define RETRY_NS 20000000
#define START_PATIENCE_NS 2000000000u
#define ARGUMENTS_MAX 16
#define VARIABLES_MAX 4096

extern char **environ;

struct perimortem_guard {
  int is_held;
};

static pmr_lock guard_lock = PMR_UNLOCKED;
static perimortem_guard the_guard;
static int guard_count;
static char last_error[256];

const char *perimortem_attach_error(void) { return last_error[0] ? last_error : NULL; }

/* Printed once: a program that attaches a hundred times should not print it a hundred times. */
static void note_failure(const char *what, int error) {
  static int is_said;
  snprintf(last_error, sizeof last_error, "%s%s%s", what, error ? ": " : "",
           error ? strerror(error) : "");
  if (is_said++) return;
  fprintf(stderr, "perimortem: crashes of this program are not reported to a monitor: %s\n", last_error);
}

static uint64_t deadline_after(double seconds) {
  return pmr_precise_now_ns() + (uint64_t)(seconds * 1e9);
}

static void pause_between_tries(void) {
  struct timespec wait = {0, RETRY_NS};
  nanosleep(&wait, NULL);
}

/* The file that `name` refers to, by PATH; 0 if there is none. */
static int find_program(const char *name, char *path, size_t size) {
  if (strchr(name, '/')) return (size_t)snprintf(path, size, "%s", name) < size;
  const char *directories = secure_getenv("PATH");
  for (const char *at = directories ? directories : "/usr/local/bin:/usr/bin:/bin"; *at;) {
    size_t length = strcspn(at, ":");
    int written = snprintf(path, size, "%.*s/%s", (int)length, at, name);
    if (length > 0 && written > 0 && (size_t)written < size && access(path, X_OK) == 0) return 1;
    at += length + (at[length] == ':');
  }
  return 0;
}

/* Our environment, without variables that would have the monitor watched itself. */
static void make_environment(char **variables, char *run_dir) {
  static const char *const left_out[] = {
      "LD_PRELOAD=",        "PERIMORTEM_RUN_DIR=",       "PERIMORTEM_MONITOR_PID=",
      "PERIMORTEM_SOCKET=", "PERIMORTEM_PID_NAMESPACE=", "PERIMORTEM_AGENT_FOLLOW=",
      "NOTIFY_SOCKET=",     "WATCHDOG_USEC=",            "WATCHDOG_PID=",
  };
  int count = 0;
  for (char **at = environ; at && *at && count < VARIABLES_MAX - 2; at++) {
    int is_left_out = 0;
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
      is_left_out |= strncmp(*at, left_out[i], strlen(left_out[i])) == 0;
    if (!is_left_out) variables[count++] = *at;
  }
  variables[count++] = run_dir;
  variables[count] = NULL;
}

/* In the process that becomes the monitor. Only system calls: other threads of the program may have held
* any lock at the fork. */
static void become_monitor(const char *path, char *const *arguments, char *const *variables) {
  unsigned long none = 0;
  PMR_RAW0(SYS_setsid);
  if (pmr_raw(SYS_clone, 0, 0, 0, 0, 0, 0) != 0) PMR_RAW1(SYS_exit_group, 0);
  int fd = (int)PMR_RAW4(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
  for (int i = 0; i < 3; i++) PMR_RAW3(SYS_dup3, fd, i, 0);
  if (PMR_RAW3(SYS_close_range, 3, ~0u, 0) != 0)
    for (int i = 3; i < 65536; i++) PMR_RAW1(SYS_close, i);
  PMR_RAW4(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
  PMR_RAW3(SYS_execve, path, arguments, variables);
  PMR_RAW1(SYS_exit_group, 127);
}

/* 0 or an errno value; whether it came up shows only at its socket. */
static int start_monitor(const char *const *command, const char *directory) {
  static const char *const usual[] = {"perimortem", NULL};
  char path[4096], run_dir[512];
  char *arguments[ARGUMENTS_MAX + 3];
  int count = 0;
  if (getauxval(AT_SECURE)) return EPERM; /* the caller could choose what we start */
  if (!command || !command[0]) command = usual;
  if (!find_program(command[0], path, sizeof path)) return ENOENT;
  while (command[count] && count < ARGUMENTS_MAX) {
    arguments[count] = (char *)(uintptr_t)command[count];
    count++;
  }
  arguments[count++] = (char *)"monitor";
  arguments[count++] = (char *)"--exit-when-idle";
  arguments[count] = NULL;
  snprintf(run_dir, sizeof run_dir, "PERIMORTEM_RUN_DIR=%s", directory);
  char **variables = malloc(VARIABLES_MAX * sizeof *variables);
  if (!variables) return ENOMEM;
  make_environment(variables, run_dir);
  /* Without SIGCHLD, and bypassing the program's fork handlers. */
  long child = pmr_raw(SYS_clone, 0, 0, 0, 0, 0, 0);
  if (child == 0) become_monitor(path, arguments, variables);
  int error = child < 0 ? (int)-child : 0;
  while (!error && waitpid((pid_t)child, NULL, __WALL) < 0 && errno == EINTR) continue;
  free(variables);
  return error;
}

/* One request, one answer of the expected kind; 0 or an errno value. */
static int exchange(uint16_t kind, uint16_t expected, uint64_t deadline_ns) {
  pmr_frame frame = pmr_make_frame(kind), answer;
  int fd = pmr_connect(deadline_ns);
  if (fd < 0) return -fd;
  frame.start_time_ticks = pmr_base() ? ((pmr_header *)(void *)pmr_base())->start_time_ticks : 0;
  int error = -pmr_ask(fd, &frame, sizeof frame, &answer, deadline_ns);
  pmr_disconnect(fd);
  if (!error && answer.kind != expected) error = EPROTO;
  return error;
}

/* No monitor listens; or it was just exiting. */
static int is_absent(int error) {
  return error == ENOENT || error == ECONNREFUSED || error == EPIPE || error == ECONNRESET;
}

/* The monitor of `run` if we are below one, else the one of this user, started if there is none. */
static int find_monitor(const perimortem_options *options, uint64_t deadline_ns) {
  const char *given = secure_getenv("PERIMORTEM_SOCKET");
  char path[512];
  if (given && given[0]) {
    pmr_set_socket_path(given);
    int error = exchange(PMR_FRAME_KIND_HELLO, PMR_FRAME_KIND_WELCOME, deadline_ns);
    if (!error) return 0; /* it may be gone, or not watch us */
  }
  snprintf(path, sizeof path, "%s/%s", pmr_directory(), PMR_SERVICE_SOCKET_NAME);
  pmr_set_socket_path(path);
  uint64_t start_ns = 0;
  for (;;) {
    int error = exchange(PMR_FRAME_KIND_HELLO, PMR_FRAME_KIND_WELCOME, deadline_ns);
    if (!is_absent(error)) return error;
    uint64_t now_ns = pmr_precise_now_ns();
    if (now_ns >= deadline_ns) return ETIMEDOUT;
    if (now_ns >= start_ns) { /* the one we started may have met one that was exiting */
      error = start_monitor(options ? options->monitor_command : NULL, pmr_directory());
      if (error) return error;
      start_ns = now_ns + START_PATIENCE_NS;
    }
    pause_between_tries();
  }
}

static int attach(const perimortem_options *options) {
  double connect_s = options && options->connect_timeout_s > 0 ? options->connect_timeout_s
                                                               : CONNECT_TIMEOUT_S;
  double answer_s =
      options && options->answer_timeout_s > 0 ? options->answer_timeout_s : ANSWER_TIMEOUT_S;
  uint64_t deadline_ns = deadline_after(connect_s < 3600 ? connect_s : 3600);
  int error = perimortem_open();
  if (error) {
    note_failure("no recorder could be created", error);
    return error;
  }
  error = find_monitor(options, deadline_ns);
  if (!error) error = exchange(PMR_FRAME_KIND_PING, PMR_FRAME_KIND_PONG, deadline_ns);
  if (error) note_failure("no monitor answers, and none could be started", error);
  /* Without a monitor a crash is still recorded, for a later monitor. */
  char socket_path[512];
  snprintf(socket_path, sizeof socket_path, "%s", pmr_socket_path());
  pmr_set_monitor(error ? NULL : socket_path, (uint32_t)((answer_s < 3600 ? answer_s : 3600) * 1e3));
  int install_error = pmr_install_crash_handler();
  if (install_error) note_failure("the handler could not be installed", install_error);
  return error ? error : install_error;
}

perimortem_guard *perimortem_spawn_and_attach(const perimortem_options *options) {
  int saved_errno = errno;
  pmr_acquire(&guard_lock);
  int error = guard_count ? 0 : attach(options);
  if (!error) guard_count++;
  pmr_release(&guard_lock);
  errno = saved_errno;
  return error ? NULL : &the_guard;
}

void perimortem_release(perimortem_guard *guard) {
  int saved_errno = errno;
  if (guard != &the_guard) return;
  pmr_acquire(&guard_lock);
  if (guard_count > 0 && --guard_count == 0) {
    pmr_remove_crash_handler();
    exchange(PMR_FRAME_KIND_LEAVE, PMR_FRAME_KIND_DONE, deadline_after(1.0));
  }
  pmr_release(&guard_lock);
  errno = saved_errno;
}
