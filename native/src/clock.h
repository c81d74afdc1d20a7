/* The clock of beats and events. */
#ifndef PERIMORTEM_CLOCK_H
#define PERIMORTEM_CLOCK_H

#include <stdint.h>
#include <time.h>

/* The coarse clock is read in a few nanoseconds and is at most one kernel tick (10 ms) old: no
 * threshold is finer than that. Monotonic, so a suspended machine ages no beat. */
static inline uint64_t pmr_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
