/* Space for the largest register state of this processor, and for handlers that chain to each other. */
#define _GNU_SOURCE
#include "alternate_stack.h"

#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "compat.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

#define PAGE 4096u
/* Ours needs 16 KiB at most. Virtual machines and other reporters that are chained to need more; only
* the pages touched are ever allocated. */
#define ROOM (64u * 1024)

static pthread_key_t key;
static int has_key;

/* Read from the auxiliary vector once: it is on the first thread's stack, which may be overrun. */
static size_t stack_size(void) {
  static size_t known;
  size_t size = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (size) return size;
  size_t least = getauxval(AT_MINSIGSTKSZ);
  if (least < 2048) least = 8192; /* the kernel gives no size: without AMX that is enough */
  size = (least + ROOM + PAGE - 1) & ~(size_t)(PAGE - 1);
  __atomic_store_n(&known, size, __ATOMIC_RELAXED);
  return size;
}

void *pmr_make_alternate_stack(void) {
  size_t size = stack_size();
  char *mapping = mmap(NULL, PAGE + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return NULL;
  if (mprotect(mapping + PAGE, size, PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping, PAGE + size);
    return NULL;
  }
  return mapping;
}

void pmr_free_alternate_stack(void *mapping) { munmap(mapping, PAGE + stack_size()); }

/* At the end of a thread. If it ends inside a handler, on this very stack, the stack stays. */
static void leave(void *mapping) {
  stack_t now, none = {.ss_flags = SS_DISABLE};
  if (sigaltstack(NULL, &now) != 0) return;
  if (now.ss_sp == (char *)mapping + PAGE && sigaltstack(&none, NULL) != 0) return;
  pmr_free_alternate_stack(mapping);
}

void pmr_prepare_alternate_stacks(void) {
  if (!has_key) has_key = pthread_key_create(&key, leave) == 0;
}

void pmr_use_alternate_stack(void *mapping) {
  stack_t before, own = {.ss_sp = (char *)mapping + PAGE, .ss_size = stack_size()};
  if (!mapping) return;
  if (sigaltstack(NULL, &before) != 0 || !(before.ss_flags & SS_DISABLE) || !has_key ||
      sigaltstack(&own, NULL) != 0) {
    pmr_free_alternate_stack(mapping);
    return;
  }
  pthread_setspecific(key, mapping);
}
