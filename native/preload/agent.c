/* The preloaded agent: opens the recorder of the process that the monitor started, before main. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "../src/recorder.h"
#include "exit_hooks.h"

/* The settings stay in the environment of the watched process, so that the agent follows an exec in it
 * (env, nice, sh -c 'exec ...'). Its children lose the preload at their exec (exec_hooks.c); one that
 * has it all the same does nothing: only the monitor's own child has the monitor for a parent. */
static int is_target(void) {
  const char *monitor = getenv("PERIMORTEM_MONITOR_PID");
  return monitor && strtol(monitor, NULL, 10) == (long)getppid();
}

__attribute__((constructor)) static void start_agent(void) {
  pmr_prepare_seccomp_hooks();
  pmr_prepare_exec_hooks();
  pmr_prepare_exit_hooks();
  if (is_target()) pmr_open(PMR_HEADER_FLAG_PRELOADED);
}
