/* A signal stack for each thread, so that a stack overflow can be reported. */
#ifndef PERIMORTEM_ALTERNATE_STACK_H
#define PERIMORTEM_ALTERNATE_STACK_H

#include "perimortem.h"

/* Once, before the first is used. */
void pmr_prepare_alternate_stacks(void);

/* A mapping with a guard page below; NULL if out of memory. */
PERIMORTEM_API void *pmr_make_alternate_stack(void);
PERIMORTEM_API void pmr_free_alternate_stack(void *mapping);

/* Installs it for the calling thread, unless it has one already; then, or on failure, the mapping is
* freed. Freed automatically at the end of the thread. */
PERIMORTEM_API void pmr_use_alternate_stack(void *mapping);

#endif
