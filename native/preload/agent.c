/* The preloaded agent: opens the recorder of a watched process before main.
 *
 * Preload and settings stay in the environment, so that the agent follows an exec and, unless the
 * monitor was started with --no-follow, is loaded into every child. Which program supports a preload is
 * decided before each exec (exec_hooks.c). */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../src/crash.h"
#include "../src/recorder.h"
#include "hooks.h"
#include "image.h"

#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#endif

int pmr_follows_children;

static pid_t monitor;

/* A daemon may outlive the watch: programs that it starts then are not watched. */
static int is_watched(void) {
  if (monitor <= 0) return 0;
  if (monitor == getppid()) return 1;
  return pmr_follows_children && pmr_is_awaited((int)monitor);
}

/* Under Yama's ptrace_scope 1 only a declared process and its children may read this one. */
static void permit_monitor(void) { prctl(PR_SET_PTRACER, monitor, 0, 0, 0); }

/* In another pid namespace the monitor's pid means nothing to us, and ours nothing to it: no recorder then.
* But its socket may be reachable, and through that the kernel identifies us. */
static int is_in_other_namespace(void) {
  char here[64];
  const char *name = getenv("PERIMORTEM_PID_NAMESPACE");
  ssize_t length = name && name[0] ? readlink("/proc/self/ns/pid", here, sizeof here - 1) : -1;
  if (length < 0) return 0;
  here[length] = '\0';
  return strcmp(here, name) != 0;
}

/* Also without a recorder: the note is sent in the message. */
static void stand_before_crashes(void) {
  const char *socket_path = getenv("PERIMORTEM_SOCKET");
  if (!socket_path || !socket_path[0]) return;
  pmr_set_monitor(socket_path, 0);
  pmr_install_crash_handler();
}

static void begin_child(void) {
  int saved_errno = errno;
  pmr_begin_exit_hooks();
  permit_monitor();
  errno = saved_errno;
}

__attribute__((constructor)) static void start_agent(void) {
  int saved_errno = errno;
  const char *pid = getenv("PERIMORTEM_MONITOR_PID"), *follow = getenv("PERIMORTEM_AGENT_FOLLOW");
  monitor = pid ? (pid_t)strtol(pid, NULL, 10) : 0;
  pmr_follows_children = follow && follow[0] == '1';
  pmr_prepare_seccomp_hooks();
  pmr_prepare_exec_hooks();
  pmr_prepare_exit_hooks();
  if (pmr_is_go_program()) pmr_leave_environment();
  if (is_watched()) {
    permit_monitor();
    pmr_open(PMR_HEADER_FLAG_PRELOADED | (pmr_follows_children ? PMR_FOLLOW : 0));
    if (pmr_follows_children) pthread_atfork(NULL, NULL, begin_child);
    stand_before_crashes();
  } else if (pmr_follows_children && is_in_other_namespace()) {
    stand_before_crashes();
  }
  errno = saved_errno;
}
