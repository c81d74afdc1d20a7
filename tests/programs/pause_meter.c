/* pause_meter N: N waiting threads, and a main thread that watches the clock without pause. For each
 * line on stdin it prints the longest gap between two looks at the clock since the last, in ms. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void *wait_here(void *unused) {
  for (;;) pause();
  return unused;
}

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

int main(int argc, char **argv) {
  long count = argc > 1 ? atol(argv[1]) : 50;
  for (long i = 0; i < count; i++) {
    pthread_t thread;
    pthread_create(&thread, 0, wait_here, 0);
  }
  fcntl(0, F_SETFL, O_NONBLOCK);
  puts("ready");
  fflush(stdout);
  double longest = 0, before = now_ms();
  for (unsigned long turn = 0;; turn++) {
    double now = now_ms();
    if (now - before > longest) longest = now - before;
    before = now;
    if (turn % 1024 == 0) {
      char byte;
      if (read(0, &byte, 1) == 1) {
        printf("%.3f\n", longest);
        fflush(stdout);
        longest = 0;
        before = now_ms();
      }
    }
  }
}
