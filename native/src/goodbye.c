/* The goodbye: the marker of an orderly exit. */
#include "clock.h"
#include "perimortem.h"
#include "recorder.h"

void perimortem_goodbye(int status) {
  unsigned char *base = pmr_base();
  if (!base) return;
  atomic_store_explicit(pmr_word_at(base, PMR_LIVE(goodbye_status)), (uint64_t)(int64_t)status,
                        memory_order_relaxed);
  atomic_store_explicit(pmr_word_at(base, PMR_LIVE(goodbye_ns)), pmr_now_ns(),
                        memory_order_release);
}
