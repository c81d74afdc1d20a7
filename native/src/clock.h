/* The clock of beats and events: monotonic, so that beats do not age while the machine is suspended. */
#ifndef PERIMORTEM_CLOCK_H
#define PERIMORTEM_CLOCK_H

#include <stdint.h>

#ifdef _WIN32
#include <windows.h>

/* Read from a page that the system shares with every process, and at most one tick (16 ms) old. */
static inline uint64_t pmr_now_ns(void) {
  ULONGLONG now_100ns = 0;
  QueryUnbiasedInterruptTime(&now_100ns);
  return now_100ns * 100;
}
#else
#include <time.h>

/* The coarse clock is read in a few nanoseconds and is at most one kernel tick (10 ms) old: no
 * threshold is finer than that. */
static inline uint64_t pmr_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
#endif

#endif
