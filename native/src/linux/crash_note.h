/* Record the kernel's information on a fault. Async-signal-safe. */
#ifndef PERIMORTEM_CRASH_NOTE_H
#define PERIMORTEM_CRASH_NOTE_H

#include <signal.h>

#include "../crash.h"

/* A fault being handled. */
typedef struct pmr_fault {
  int number;
  siginfo_t *info;
  void *context; /* ucontext_t */
} pmr_fault;

/* Fill the note, except for its checksum. */
void pmr_fill_crash(pmr_crash_note *note, const pmr_fault *fault);

/* The stack pointer at the fault: frames of later handlers are below. */
uint64_t pmr_fault_stack_pointer(const pmr_fault *fault);

/* The signals that were blocked there: bit 0 is signal 1. */
uint64_t pmr_fault_mask(const pmr_fault *fault);

#endif
