/* hang_kinds KIND: its heartbeat "work" stops after one beat; why, KIND says. */
#define _GNU_SOURCE
#include <perimortem.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static double read_ms(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* Reports every 20 ms how much CPU time it got: on a loaded machine that may be little. */
static void *spin(void *name) {
  char json[64];
  if (name) pthread_setname_np(pthread_self(), name);
  for (double next_ms = 0;;) {
    if (read_ms(CLOCK_MONOTONIC) < next_ms) continue;
    snprintf(json, sizeof json, "{\"cpu_ms\": %.3f}", read_ms(CLOCK_THREAD_CPUTIME_ID));
    perimortem_emit("ran", json);
    next_ms = read_ms(CLOCK_MONOTONIC) + 20;
  }
  return name;
}

static void pin_to_first_processor(void) {
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  sched_setaffinity(0, sizeof first, &first);
}

/* Another process takes the processor, and we run only when no other does (SCHED_IDLE). */
static void starve(void) {
  struct sched_param none = {0};
  pin_to_first_processor();
  pid_t other = fork();
  if (other == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) __asm__ volatile("");
  }
  sched_setscheduler(0, SCHED_IDLE, &none);
  for (;;) __asm__ volatile("");
}

int main(int argc, char **argv) {
  const char *kind = argc > 1 ? argv[1] : "busy";
  int ends[2];
  char byte;
  pthread_t thread;
  perimortem_open();
  perimortem_beat(perimortem_heartbeat("work", 0.5));
  if (!strcmp(kind, "busy")) spin(0);
  if (!strcmp(kind, "busy_thread")) {
    pthread_create(&thread, 0, spin, "spinner");
    sleep(30);
  }
  if (!strcmp(kind, "lock")) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_lock(&mutex);
  }
  if (!strcmp(kind, "network") && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0)
    recv(ends[0], &byte, 1, 0);
  if (!strcmp(kind, "pipe") && pipe(ends) == 0) return (int)read(ends[0], &byte, 1);
  if (!strcmp(kind, "stopped")) kill(getpid(), SIGSTOP);
  if (!strcmp(kind, "vfork") && vfork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sleep(30);
    _exit(0);
  }
  if (!strcmp(kind, "starved")) starve();
  sleep(30);
  return 0;
}
