/* Events: fixed slots in a ring. A slot is claimed by fetch_add; its sequence word is cleared first
* and stored last, and a CRC covers the rest, so a reader gets a whole event or none, wherever the
* writer died, and however often it was lapped. */
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "crc32.h"
#include "perimortem.h"
#include "recorder.h"

typedef union slot_image {
  pmr_event_slot head;
  uint64_t words[PMR_EVENT_SLOT_SIZE / 8];
  unsigned char bytes[PMR_EVENT_SLOT_SIZE];
} slot_image;

static uint32_t build_slot(slot_image *slot, uint64_t sequence, const char *name,
                           const char *payload, uint32_t payload_size) {
  uint32_t used = (uint32_t)sizeof slot->head + payload_size;
  slot->head.sequence = sequence;
  slot->head.monotonic_ns = pmr_now_ns();
  slot->head.payload_size = payload_size;
  slot->head.crc32 = 0;
  pmr_copy_name(slot->head.name, PMR_EVENT_NAME_SIZE, name);
  memcpy(slot->bytes + sizeof slot->head, payload, payload_size);
  memset(slot->bytes + used, 0, -used & 7u);
  slot->head.crc32 = pmr_crc32(0, slot->bytes, used);
  return (used + 7u) / 8u;
}

static void publish_slot(pmr_word *target, const slot_image *slot, uint32_t word_count) {
  atomic_store_explicit(&target[0], 0, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
  for (uint32_t i = 1; i < word_count; i++)
    atomic_store_explicit(&target[i], slot->words[i], memory_order_relaxed);
  atomic_store_explicit(&target[0], slot->words[0], memory_order_release);
}

int perimortem_emit(const char *name, const char *json) {
  pmr_live *live = pmr_get_live();
  unsigned char *base = live->base;
  if (!base || !name) return -1;
  if (!json) json = "{}";
  size_t size = strlen(json);
  char replacement[48];
  int result = 0;
  if (size > PMR_PAYLOAD_MAX) {
    atomic_fetch_add_explicit(pmr_word_at(base, PMR_LIVE(events_refused)), 1, memory_order_relaxed);
    snprintf(replacement, sizeof replacement, "{\"oversize_bytes\":%llu}", (unsigned long long)size);
    json = replacement;
    size = strlen(json);
    result = -1;
  }
  /* Sequences begin at 1: a zero word is an empty slot. */
  uint64_t sequence = 1 + atomic_fetch_add_explicit(pmr_word_at(base, PMR_LIVE(next_sequence)), 1,
                                                    memory_order_relaxed);
  slot_image slot;
  uint32_t word_count = build_slot(&slot, sequence, name, json, (uint32_t)size);
  uint32_t index = (uint32_t)((sequence - 1) % live->slot_count);
  publish_slot(pmr_word_at(base, PMR_RING_OFFSET + index * PMR_EVENT_SLOT_SIZE), &slot, word_count);
  return result;
}
