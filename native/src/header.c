/* The header of a recorder file: written once, before anything can read it. */
#include <string.h>

#include "clock.h"
#include "crc32.h"
#include "recorder.h"

void pmr_copy_name(char *to, uint32_t size, const char *from) {
  uint32_t i = 0;
  for (; from && from[i] && i + 1 < size; i++) to[i] = from[i];
  memset(to + i, 0, size - i);
}

uint64_t pmr_file_size(uint32_t slot_count) {
  return PMR_RING_OFFSET + (uint64_t)slot_count * PMR_EVENT_SLOT_SIZE;
}

void pmr_fill_header(unsigned char *base, uint32_t slot_count, const pmr_identity *identity) {
  pmr_header header;
  pmr_crc32_prepare();
  memset(&header, 0, sizeof header);
  memcpy(header.magic, PMR_MAGIC, sizeof header.magic);
  header.version = PMR_VERSION;
  header.header_size = sizeof header;
  header.file_size = pmr_file_size(slot_count);
  header.pid = identity->pid;
  header.flags = identity->flags;
  header.start_time_ticks = identity->start_time_ticks;
  memcpy(header.boot_id, identity->boot_id, sizeof header.boot_id);
  header.created_monotonic_ns = pmr_now_ns();
  header.created_realtime_ns = identity->realtime_ns;
  header.ring_offset = PMR_RING_OFFSET;
  header.slot_size = PMR_EVENT_SLOT_SIZE;
  header.slot_count = slot_count;
  header.crash_area_offset = PMR_CRASH_AREA_OFFSET;
  header.crash_area_size = PMR_CRASH_AREA_SIZE;
  header.crash_area_version = PMR_CRASH_AREA_VERSION;
  header.exit_note_offset = PMR_EXIT_NOTE_OFFSET;
  header.heartbeat_max = PMR_MAX_HEARTBEATS;
  header.parent_pid = identity->parent_pid;
  header.monitor_pid = identity->monitor_pid;
  header.crc32 = pmr_crc32(0, &header, offsetof(pmr_header, crc32));
  memcpy(base, &header, sizeof header);
  pmr_copy_name((char *)base + PMR_PROCESS_NAME_OFFSET, PMR_PROCESS_NAME_SIZE, identity->name);
  atomic_store_explicit(pmr_word_at(base, PMR_LIVE(ready)), 1, memory_order_release);
}
