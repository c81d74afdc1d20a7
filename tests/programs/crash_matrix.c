/* crash_matrix SIGNAL main|thread|overflow|thread_overflow|malloc|handler: faults so, there. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"

static int number;

__attribute__((noinline)) int overflow(int depth) {
  volatile char frame[4096];
  memset((char *)frame, depth, sizeof frame);
  return depth < 0 ? 0 : overflow(depth + 1) + frame[17];
}

static void begin_overflow(void) {
  prepare_fault(0);
  overflow(1);
}

static void *in_thread(void *way) {
  pthread_setname_np(pthread_self(), "worker");
  if (way) {
    begin_overflow();
  } else {
    prepare_fault(number);
    fault(number);
  }
  return 0;
}

static void *idle(void *unused) {
  for (;;) sched_yield();
  return unused;
}

static sigjmp_buf back;

static void leave_malloc(int signal) { siglongjmp(back, signal); }

/* A list of free memory is damaged, so that malloc itself faults, with its lock held; from there we jump
 * out. The lock stays taken: a thread that allocates now waits for ever. */
static void hold_malloc_lock(void) {
  pthread_t other;
  struct sigaction jump, none;
  memset(&jump, 0, sizeof jump);
  memset(&none, 0, sizeof none);
  jump.sa_handler = leave_malloc;
  pthread_create(&other, 0, idle, 0); /* with one thread it takes no lock */
  void *freed = malloc(4000);
  volatile size_t freed_at = (size_t)freed;
  void *fence = malloc(3000); /* so large that it surely lies behind, and the first is not given back */
  free(freed);
  ((void *volatile *)(size_t)freed_at)[1] = (void *)8;
  sigaction(SIGSEGV, &jump, 0);
  if (sigsetjmp(back, 1) == 0) {
    fence = malloc(9000);
    exit(fence != 0);
  }
  sigaction(SIGSEGV, &none, 0);
}

static void on_user_signal(int unused) {
  (void)unused;
  fault(number);
}

int main(int argc, char **argv) {
  pthread_t thread;
  const char *way = argc > 2 ? argv[2] : "main";
  number = atoi(argv[1]);
  if (!strcmp(way, "overflow")) begin_overflow();
  if (strstr(way, "thread")) {
    pthread_create(&thread, 0, in_thread, !strcmp(way, "thread_overflow") ? &number : 0);
    pthread_join(thread, 0);
  }
  prepare_fault(number);
  if (!strcmp(way, "malloc")) hold_malloc_lock();
  if (!strcmp(way, "handler")) {
    signal(SIGUSR1, on_user_signal);
    raise(SIGUSR1);
  }
  fault(number);
  return 9;
}
