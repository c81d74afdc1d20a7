/* The thread of a program that opened its recorder itself: beats "process" and emits "system.stats"
 * once a second.
 *
 * It shows that the kernel schedules the process at all, and no more: a program whose every other
 * thread is deadlocked still beats "process". A preload alone starts no thread: many programs must
 * have only one (unshare, setns), lose glibc's single-threaded speed, or drop rights that a thread
 * would keep. For them the monitor observes from outside. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "compat.h"
#include "perimortem.h"
#include "../recorder.h"

int pmr_is_leaving;

/* Counting a hundred thousand descriptors each second would be noticeable; beyond this the count is a minimum. */
#define FD_COUNT_MAX 16384

static long count_descriptors(void) {
  _Alignas(8) char entries[4096];
  long count = 0; /* the descriptor that lists them is in our own table */
  int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return 0;
  for (;;) {
    long size = syscall(SYS_getdents64, fd, entries, sizeof entries);
    if (size <= 0 || count > FD_COUNT_MAX) break;
    for (long at = 0; at < size;) {
      /* struct linux_dirent64: d_ino u64, d_off s64, d_reclen u16, d_type u8, d_name */
      uint16_t length;
      memcpy(&length, entries + at + 16, sizeof length);
      if (entries[at + 19] != '.') count++;
      at += length;
    }
  }
  close(fd);
  return count;
}

/* 1 if the main thread has exited by pthread_exit and only this thread remains: without it the
* process would have ended. */
static int is_last_thread(char state, unsigned long threads) { return state == 'Z' && threads <= 2; }

/* Returns 0, or 1 if the process has ended except for this thread. */
static int emit_stats(void) {
  char text[512], json[160];
  unsigned long threads = 0;
  char state = 0;
  long resident_pages = 0;
  struct timespec cpu = {0, 0};

  int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return 0;
  text[length] = '\0';
  /* After the name in brackets: field 3 is the state, 20 the threads, 24 the resident pages. */
  char *at = strrchr(text, ')');
  for (int field = 2; at && field < 24; field++) {
    at = strchr(at + 1, ' ');
    if (at && field + 1 == 3) state = at[1];
    if (at && field + 1 == 20) threads = strtoul(at, NULL, 10);
    if (at && field + 1 == 24) resident_pages = strtol(at, NULL, 10);
  }
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  snprintf(json, sizeof json, "{\"rss_bytes\":%lld,\"cpu_s\":%lld.%03ld,\"threads\":%lu,\"fds\":%ld}",
           (long long)resident_pages * sysconf(_SC_PAGESIZE), (long long)cpu.tv_sec,
           cpu.tv_nsec / 1000000, threads, count_descriptors());
  perimortem_emit("system.stats", json);
  return is_last_thread(state, threads);
}

/* Our own descriptor table: our descriptors must not take the numbers that the program expects
* (close(0); open() gives 0), nor be closed and reused under us by its closefrom(). */
static int leave_descriptor_table(void) {
  if (syscall(SYS_unshare, CLONE_FILES) != 0) return 0;
#ifndef SYS_close_range
#define SYS_close_range 436 /* Linux 5.9, the same number everywhere */
#endif
  if (syscall(SYS_close_range, 0u, ~0u, 0u) != 0)
    for (int fd = 0; fd < 65536; fd++) close(fd);
  return 1;
}

/* The main thread's own destructor (below) sets `leave`; the sampler answers with `gone`. */
static _Atomic int leave, gone;

/* Until `word` is set or the time is over; 0 if the kernel refuses to let us wait (seccomp). */
static int wait_on(_Atomic int *word, int64_t timeout_ns) {
  struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
  if (timeout_ns <= 0) return 1;
  if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, &timeout, NULL, 0) == 0) return 1;
  return errno == ETIMEDOUT || errno == EAGAIN || errno == EINTR;
}

static void set(_Atomic int *word) {
  atomic_store(word, 1);
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static int64_t precise_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* `own_table`: not NULL to take our own descriptor table. */
static void *sample(void *own_table) {
  prctl(PR_SET_NAME, "perimortem", 0, 0, 0);
  int reads_proc = own_table ? leave_descriptor_table() : 1;
  int heartbeat = perimortem_heartbeat("process", 0);
  int64_t next_ns = precise_now_ns();
  while (!atomic_load(&leave)) {
    perimortem_beat(heartbeat);
    if (reads_proc && emit_stats() && !own_table) {
      pmr_is_leaving = 1;
      perimortem_goodbye(0);
      exit(0); /* as glibc does when the last thread exits */
    }
    next_ns += 1000000000;
    if (next_ns < precise_now_ns()) next_ns = precise_now_ns() + 1000000000; /* after a stop */
    int may_wait = 1;
    while (may_wait && !atomic_load(&leave) && precise_now_ns() < next_ns)
      may_wait = wait_on(&leave, next_ns - precise_now_ns());
    if (!may_wait) break; /* better no beat than a busy loop */
  }
  perimortem_retire(heartbeat);
  set(&gone);
  return NULL;
}

/* Runs when the main thread exits by pthread_exit, not when it returns from main: then the last thread must
* be one of the program's own, since it flushes the output and runs the exit handlers. */
static void stop_sampler(void *unused) {
  (void)unused;
  set(&leave);
  for (int i = 0; i < 10 && !atomic_load(&gone); i++) wait_on(&gone, 10000000);
}

int pmr_start_sampler(void) {
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t every, before;
  /* The program's signals are for the program's threads. */
  sigfillset(&every);
  sigprocmask(SIG_SETMASK, &every, &before);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 256 * 1024); /* room for the program's static TLS */
  /* Its own table only if the main thread can ask it to exit in time. */
  void *own_table = NULL;
  pthread_key_t key;
  if (syscall(SYS_gettid) == getpid() && pthread_key_create(&key, stop_sampler) == 0 &&
      pthread_setspecific(key, &leave) == 0)
    own_table = &leave;
  int error = pthread_create(&thread, &attributes, sample, own_table);
  if (error) {
    pthread_attr_destroy(&attributes);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&thread, &attributes, sample, own_table);
  }
  pthread_attr_destroy(&attributes);
  sigprocmask(SIG_SETMASK, &before, NULL);
  return error;
}
