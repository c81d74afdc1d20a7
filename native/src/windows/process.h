/* Facts about this process. */
#ifndef PERIMORTEM_PROCESS_H
#define PERIMORTEM_PROCESS_H

#include <stdint.h>
#include <windows.h>

static inline uint64_t pmr_filetime(FILETIME time) {
  return (uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime;
}

/* 100 ns since 1601: with the pid it identifies this process for all time. */
uint64_t pmr_read_creation_time(void);

/* 0 if unknown. */
uint32_t pmr_find_parent_pid(void);

/* The program's file name, as UTF-8. */
void pmr_read_own_name(char *into, uint32_t size);

/* The oldest thread: the one that runs main. */
uint32_t pmr_find_main_thread(void);

/* The current number of threads. */
uint32_t pmr_count_threads(void);

#endif
