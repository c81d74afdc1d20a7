/* The crash note: where it is stored, and how it is completed. */
#include "crash.h"

#include "crc32.h"
#include "recorder.h"

/* Without a recorder the note still goes to the monitor, in a message. */
static pmr_crash_note own_area;

pmr_crash_note *pmr_crash_area(void) {
  unsigned char *base = pmr_base();
  return base ? (pmr_crash_note *)(void *)(base + PMR_CRASH_AREA_OFFSET) : &own_area;
}

void pmr_publish_crash(pmr_crash_note *note, uint64_t state) {
  pmr_word *word = (pmr_word *)(void *)&note->state;
  note->crc32 = 0;
  note->crc32 = pmr_crc32(0, note, offsetof(pmr_crash_note, state));
  atomic_store_explicit(word, state, memory_order_release);
}
