/* Heartbeats: one word each for the last beat, the hold and the limit. */
#include <string.h>

#include "clock.h"
#include "lock.h"
#include "perimortem.h"
#include "recorder.h"

static pmr_lock register_lock = PMR_UNLOCKED;

static pmr_word *beat_word(unsigned char *base, int heartbeat) {
  return pmr_word_at(base, PMR_BEATS_OFFSET + 8u * (uint32_t)heartbeat);
}

static pmr_word *hold_word(unsigned char *base, int heartbeat) {
  return pmr_word_at(base, PMR_HOLDS_OFFSET + 8u * (uint32_t)heartbeat);
}

static pmr_word *limit_word(unsigned char *base, int heartbeat) {
  return pmr_word_at(base, PMR_LIMITS_OFFSET + 8u * (uint32_t)heartbeat);
}

/* The mapping if the handle is valid and there is a recorder, else NULL. */
static unsigned char *base_for(int heartbeat) {
  if ((unsigned)heartbeat >= PMR_MAX_HEARTBEATS) return NULL;
  return pmr_get_live()->base;
}

void perimortem_beat(int heartbeat) {
  unsigned char *base = base_for(heartbeat);
  if (base) atomic_store_explicit(beat_word(base, heartbeat), pmr_now_ns(), memory_order_relaxed);
}

void perimortem_pause(int heartbeat) {
  unsigned char *base = base_for(heartbeat);
  if (base) atomic_store_explicit(hold_word(base, heartbeat), PMR_HOLD_PAUSED, memory_order_release);
}

void perimortem_resume(int heartbeat) {
  unsigned char *base = base_for(heartbeat);
  if (!base) return;
  atomic_store_explicit(beat_word(base, heartbeat), pmr_now_ns(), memory_order_relaxed);
  atomic_store_explicit(hold_word(base, heartbeat), 0, memory_order_release);
}

void perimortem_extend(int heartbeat, double seconds) {
  unsigned char *base = base_for(heartbeat);
  if (!base || !(seconds > 0)) return;
  if (seconds > 1e9) seconds = 1e9; /* some thirty years; also catches infinity */
  atomic_store_explicit(hold_word(base, heartbeat), pmr_now_ns() + (uint64_t)(seconds * 1e9),
                        memory_order_release);
}

static uint64_t make_limit(double threshold_s, uint64_t state) {
  uint64_t threshold_ms = 0;
  if (threshold_s > 0) threshold_ms = threshold_s < 4e6 ? (uint64_t)(threshold_s * 1e3) : 4000000000u;
  if (threshold_s > 0 && threshold_ms == 0) threshold_ms = 1;
  return threshold_ms | state << PMR_LIMIT_STATE_SHIFT;
}

void perimortem_retire(int heartbeat) {
  unsigned char *base = base_for(heartbeat);
  if (base)
    atomic_store_explicit(limit_word(base, heartbeat), make_limit(0, PMR_LIMIT_STATE_RETIRED),
                          memory_order_release);
}

void pmr_forget_registrations(void) {
  register_lock = (pmr_lock)PMR_UNLOCKED;
}

static char *name_at(unsigned char *base, int heartbeat) {
  return (char *)base + PMR_NAMES_OFFSET + PMR_HEARTBEAT_NAME_SIZE * heartbeat;
}

/* The slot with that name, or the next free one, or -1 if all are taken. */
static int find_slot(unsigned char *base, const char *name, uint64_t count) {
  for (int i = 0; i < (int)count; i++)
    if (strcmp(name_at(base, i), name) == 0) return i;
  return count < PMR_MAX_HEARTBEATS ? (int)count : -1;
}

int perimortem_heartbeat(const char *name, double threshold_s) {
  char wanted[PMR_HEARTBEAT_NAME_SIZE];
  unsigned char *base = pmr_get_live()->base;
  if (!base || !name || !name[0]) return -1;
  pmr_copy_name(wanted, sizeof wanted, name);

  pmr_acquire(&register_lock);
  pmr_word *count_word = pmr_word_at(base, PMR_LIVE(heartbeat_count));
  uint64_t count = atomic_load_explicit(count_word, memory_order_relaxed);
  int slot = find_slot(base, wanted, count);
  if (slot >= 0) {
    int was_active = slot < (int)count &&
                     (atomic_load_explicit(limit_word(base, slot), memory_order_relaxed) >>
                      PMR_LIMIT_STATE_SHIFT) == PMR_LIMIT_STATE_ACTIVE;
    if (!was_active) {
      memcpy(name_at(base, slot), wanted, sizeof wanted);
      atomic_store_explicit(hold_word(base, slot), 0, memory_order_relaxed);
      atomic_store_explicit(beat_word(base, slot), pmr_now_ns() | PMR_NEVER_BEATEN,
                            memory_order_relaxed);
    }
    atomic_store_explicit(limit_word(base, slot), make_limit(threshold_s, PMR_LIMIT_STATE_ACTIVE),
                          memory_order_release);
    if (slot == (int)count) atomic_store_explicit(count_word, count + 1, memory_order_release);
  }
  pmr_release(&register_lock);
  if (slot >= 0) pmr_notify_monitor();
  return slot;
}
