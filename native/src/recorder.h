/* The mapped recorder of this process: interface for the other C files. */
#ifndef PERIMORTEM_RECORDER_H
#define PERIMORTEM_RECORDER_H

#include <stdatomic.h>
#include <stdint.h>

#include "perimortem.h"
#include "recorder_layout.h"

typedef _Atomic uint64_t pmr_word;

/* Lives in a page that the kernel wipes in a forked child, so that a child, whose mapping is its
 * parent's file, finds base == NULL and cannot beat for its parent. */
typedef struct pmr_live {
  unsigned char *base;
  uint32_t slot_count;
} pmr_live;

/* Never NULL; base is NULL while there is no recorder. */
extern _Atomic(pmr_live *) pmr_current;

static inline pmr_live *pmr_get_live(void) {
  return atomic_load_explicit(&pmr_current, memory_order_acquire);
}

static inline pmr_word *pmr_word_at(unsigned char *base, uint32_t offset) {
  return (pmr_word *)(void *)(base + offset);
}

/* Offset of a field of LiveWords from the start of the file. */
#define PMR_LIVE(field) ((uint32_t)(PMR_LIVE_WORDS_OFFSET + offsetof(pmr_live_words, field)))

/* The writer of a recorder. */
typedef struct pmr_identity {
  uint32_t pid, parent_pid, monitor_pid, flags;
  uint64_t start_time_ticks, realtime_ns;
  char boot_id[16];
  char name[PMR_PROCESS_NAME_SIZE];
} pmr_identity;

uint64_t pmr_file_size(uint32_t slot_count);
void pmr_fill_header(unsigned char *base, uint32_t slot_count, const pmr_identity *identity);

/* Stores into the mapping wake no reader. Touching the file notifies the monitor, so that a heartbeat
* with a short threshold is watched from its first beat on. */
void pmr_notify_monitor(void);

/* Create and map the recorder file; 0 or an errno value. `flags` are PMR_HEADER_FLAG_*. */
int pmr_create(uint32_t flags);

/* Start the thread that beats "process" and emits "system.stats"; 0 or an errno value. */
int pmr_start_sampler(void);

/* Set while our own thread ends the process: the exit hooks do nothing. Exported, not public. */
extern PERIMORTEM_API int pmr_is_leaving;

/* A flag of pmr_open beside PMR_HEADER_FLAG_*: a forked child gets its own recorder. */
#define PMR_FOLLOW 0x80000000u

/* In a forked child: no thread holds the registration lock. */
void pmr_forget_registrations(void);

/* From now on forked children stay without a recorder, and nothing asks after the monitor (the program
* entered seccomp). */
PERIMORTEM_API void pmr_stop_following(void);

/* Does a monitor read what this process writes: that of this pid, or, if it was killed, the next one?
* False once its watch has ended: then it has removed its socket. Exported, not public. */
PERIMORTEM_API int pmr_is_awaited(int monitor);

/* After a goodbye: if the monitor was killed, no one needs the recorder. Exported, not public. */
PERIMORTEM_API void pmr_forget_good_end(void);

/* Open the recorder without the thread: for the preloaded agent. Exported, not public. */
PERIMORTEM_API int pmr_open(uint32_t flags);

/* The base of the mapping, or NULL: for the preloaded agent. Exported, not public. */
PERIMORTEM_API unsigned char *pmr_base(void);

/* The run directory, once the recorder was opened. */
const char *pmr_directory(void);

/* A fixed-size copy that always ends in a zero and never reads past the source's end. */
PERIMORTEM_API void pmr_copy_name(char *to, uint32_t size, const char *from);

#endif
