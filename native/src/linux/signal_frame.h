/* Signal frames on a stack: a handler that runs has one above it, with the fault that it was called for. */
#ifndef PERIMORTEM_SIGNAL_FRAME_H
#define PERIMORTEM_SIGNAL_FRAME_H

#include <stdint.h>

#include "crash_note.h"

/* The outermost frame of a fault of hardware at or above `stack_pointer`, on that stack, whose handler is
 * still at it: its signal is held back in `mask`, or it asked for that not to be. 1 when there is one;
 * `fault` then lies in memory of ours that the next call uses again. Async-signal-safe. */
int pmr_find_signal_frame(uint64_t stack_pointer, uint64_t mask, pmr_fault *fault);

/* A signal that a handler sent to itself while it was held back comes when the handler has returned, to the
 * instruction that had faulted. 1 when `sent` is such a one; `fault` is then what the processor said. */
int pmr_restore_late_fault(const pmr_fault *sent, pmr_fault *fault);

#endif
