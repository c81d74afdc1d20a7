/* The crash handler, as the other C files see it. */
#ifndef PERIMORTEM_CRASH_H
#define PERIMORTEM_CRASH_H

#include <stdint.h>

#include "perimortem.h"
#include "recorder_layout.h"

/* Install the handler, or take it off again; 0 or an errno value. Doing it twice changes nothing. */
PERIMORTEM_API int pmr_install_crash_handler(void);
PERIMORTEM_API void pmr_remove_crash_handler(void);
PERIMORTEM_API int pmr_has_crash_handler(void);

/* Whom a crash is told; NULL or an empty path: nobody, it is only written down. */
PERIMORTEM_API void pmr_set_monitor(const char *socket_path, uint32_t answer_timeout_ms);

/* Where the note is written: in the recorder, or, while there is none, in memory of our own. */
pmr_crash_note *pmr_crash_area(void);

/* Complete `note` (checksum) and publish it with this state. */
void pmr_publish_crash(pmr_crash_note *note, uint64_t state);

#endif
