/* crash_threads COUNT [attach]: with so many threads, says "ready", waits for a line, says when (monotonic ns),
 * and faults. */
#include <perimortem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void *wait_here(void *unused) {
  for (;;) pause();
  return unused;
}

int main(int argc, char **argv) {
  pthread_t thread;
  struct timespec now;
  int count = argc > 1 ? atoi(argv[1]) : 1;
  if (argc > 2 && !perimortem_spawn_and_attach(NULL)) return 9;
  for (int i = 1; i < count; i++) pthread_create(&thread, NULL, wait_here, NULL);
  puts("ready");
  fflush(stdout);
  if (getchar() == EOF) return 8;
  clock_gettime(CLOCK_MONOTONIC, &now);
  printf("%lld\n", (long long)now.tv_sec * 1000000000 + now.tv_nsec);
  fflush(stdout);
  *(volatile int *)16 = 1;
  return 9;
}
