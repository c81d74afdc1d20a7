/* Signal frames on a stack: a running handler has one above it, with the fault that it was called for. */
#ifndef PERIMORTEM_SIGNAL_FRAME_H
#define PERIMORTEM_SIGNAL_FRAME_H

#include <stdint.h>

#include "crash_note.h"

/* The outermost frame of a hardware fault at or above `stack_pointer`, on that stack, whose handler is
* still running: its signal is blocked in `mask`, or it has SA_NODEFER. 1 if there is one; `fault` then
* points into static memory that the next call reuses. Async-signal-safe. */
int pmr_find_signal_frame(uint64_t stack_pointer, uint64_t mask, pmr_fault *fault);

/* A signal that a handler sent to itself while it was blocked arrives when the handler has returned, at the
* instruction that had faulted. 1 if `sent` is such a one; `fault` is then the original fault. */
int pmr_restore_late_fault(const pmr_fault *sent, pmr_fault *fault);

#endif
