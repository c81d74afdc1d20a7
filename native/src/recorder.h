/* The mapped recorder of this process, as the other C files see it. */
#ifndef PERIMORTEM_RECORDER_H
#define PERIMORTEM_RECORDER_H

#include <stdatomic.h>
#include <stdint.h>

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

/* Create and map the recorder file; 0 or an errno value. `flags` are PMR_HEADER_FLAG_*. */
int pmr_create(uint32_t flags);

/* Start the thread that beats "process" and emits "system.stats"; 0 or an errno value. */
int pmr_start_sampler(void);

/* Set while our own thread ends the process: the exit hooks look away. Exported, not public. */
extern __attribute__((visibility("default"))) int pmr_is_leaving;

/* A flag of pmr_open beside PMR_HEADER_FLAG_*: a forked child gets a recorder of its own. */
#define PMR_FOLLOW 0x80000000u

/* In a forked child: nobody holds the lock of the registrations. */
void pmr_forget_registrations(void);

/* From now on forked children stay without a recorder (the program went under seccomp). */
__attribute__((visibility("default"))) void pmr_stop_following(void);

/* Open the recorder without the thread: for the preloaded agent. Exported, not public. */
__attribute__((visibility("default"))) int pmr_open(uint32_t flags);

/* The base of the mapping, or NULL: for the preloaded agent. Exported, not public. */
__attribute__((visibility("default"))) unsigned char *pmr_base(void);

/* A fixed-size copy that always ends in a zero and never reads past the source's end. */
__attribute__((visibility("default"))) void pmr_copy_name(char *to, uint32_t size, const char *from);

#endif
