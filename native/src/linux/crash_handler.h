/* What the preload's hooks of sigaction and its kin need of the crash handler. */
#ifndef PERIMORTEM_CRASH_HANDLER_H
#define PERIMORTEM_CRASH_HANDLER_H

#include <signal.h>

#include "../crash.h"

PERIMORTEM_API int pmr_is_crash_signal(int number);

/* sigaction(2) for such a signal, as the program sees it; only while the handler is installed. */
PERIMORTEM_API int pmr_want_action(int number, const struct sigaction *action, struct sigaction *old);

#endif
