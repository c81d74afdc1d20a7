/* A signal stack for each thread, so that a stack overflow can still be told. */
#ifndef PERIMORTEM_ALTERNATE_STACK_H
#define PERIMORTEM_ALTERNATE_STACK_H

#include "perimortem.h"

/* Once, before the first is used. */
void pmr_prepare_alternate_stacks(void);

/* A mapping with a guard page below; NULL when there is no memory. */
PERIMORTEM_API void *pmr_make_alternate_stack(void);
PERIMORTEM_API void pmr_free_alternate_stack(void *mapping);

/* The calling thread's, unless it has one already; then, or when it fails, the mapping is freed.
 * Freed at the end of the thread by itself. */
PERIMORTEM_API void pmr_use_alternate_stack(void *mapping);

#endif
