/* The last filter before the system's own crash report. */
#ifndef PERIMORTEM_CRASH_HANDLER_H
#define PERIMORTEM_CRASH_HANDLER_H

#include <stdint.h>

/* If %PERIMORTEM_SOCKET% names a monitor: install the handler, and report crashes to it. */
void pmr_stand_before_crashes(void);

/* How long a crash waits for its dump; 0: the default. */
void pmr_set_answer_timeout(uint32_t timeout_ms);

#endif
