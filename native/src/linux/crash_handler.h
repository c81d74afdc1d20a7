/* The crash handler's interface for the hooks of sigaction, exit and abort. */
#ifndef PERIMORTEM_CRASH_HANDLER_H
#define PERIMORTEM_CRASH_HANDLER_H

#include <signal.h>
#include <stdint.h>

#include "../crash.h"

PERIMORTEM_API int pmr_is_crash_signal(int number);

/* sigaction(2) for such a signal, as the program sees it; only while the handler is installed. */
PERIMORTEM_API int pmr_want_action(int number, const struct sigaction *action, struct sigaction *old);

/* Whether a handler of the program is installed for it. */
PERIMORTEM_API int pmr_has_handler_for(int number);

/* Whether the program's last handler for it was installed with SA_NODEFER. */
int pmr_is_reentrant(int number);

/* The program exits: if that happens in its own handler for a fault, the fault is recorded. */
PERIMORTEM_API void pmr_note_taken_fault(uintptr_t stack_pointer);

/* Whether we intercept the program's calls of sigaction (signal_hook.c). */
int pmr_hooks_sigaction(void);

#endif
