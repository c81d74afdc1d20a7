/* What the hooks before sigaction, exit and abort need of the crash handler. */
#ifndef PERIMORTEM_CRASH_HANDLER_H
#define PERIMORTEM_CRASH_HANDLER_H

#include <signal.h>
#include <stdint.h>

#include "../crash.h"

PERIMORTEM_API int pmr_is_crash_signal(int number);

/* sigaction(2) for such a signal, as the program sees it; only while the handler is installed. */
PERIMORTEM_API int pmr_want_action(int number, const struct sigaction *action, struct sigaction *old);

/* Whether a handler of the program's own stands there. */
PERIMORTEM_API int pmr_has_handler_for(int number);

/* Whether the last handler of the program's own for it asked that it be not held back (SA_NODEFER). */
int pmr_is_reentrant(int number);

/* The program leaves: if that is in a handler of its own for a fault, the fault is written down. */
PERIMORTEM_API void pmr_note_taken_fault(uintptr_t stack_pointer);

/* Whether the program's calls of sigaction come to us (signal_hook.c). */
int pmr_hooks_sigaction(void);

#endif
