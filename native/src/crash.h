/* The crash handler's interface for the other C files. */
#ifndef PERIMORTEM_CRASH_H
#define PERIMORTEM_CRASH_H

#include <stdint.h>

#include "perimortem.h"
#include "recorder_layout.h"

/* Install the handler, or remove it; 0 or an errno value. Idempotent. */
PERIMORTEM_API int pmr_install_crash_handler(void);
PERIMORTEM_API void pmr_remove_crash_handler(void);
PERIMORTEM_API int pmr_has_crash_handler(void);

/* Where crashes are reported; NULL or an empty path: nowhere, they are only recorded. */
PERIMORTEM_API void pmr_set_monitor(const char *socket_path, uint32_t answer_timeout_ms);

/* Where the note is written: in the recorder, or, without one, in our own memory. */
pmr_crash_note *pmr_crash_area(void);

/* Complete `note` (checksum) and publish it with this state. */
void pmr_publish_crash(pmr_crash_note *note, uint64_t state);

#endif
