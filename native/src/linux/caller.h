/* Which module contains an address? Safe in a signal handler, on a small stack, under seccomp. */
#ifndef PERIMORTEM_CALLER_H
#define PERIMORTEM_CALLER_H

#include <stdint.h>

#include "perimortem.h"

typedef struct pmr_caller {
  uint32_t kind; /* PMR_EXIT_CALLER_* */
  uint64_t module_offset;
  const char *module; /* path, or an empty string */
} pmr_caller;

/* Remember the modules that are loaded now; called before main. */
PERIMORTEM_API void pmr_remember_modules(void);
int pmr_knows_modules(void);

/* Whether the file of a module is Python, or its library. */
int pmr_is_python(const char *path);

/* `may_read` is 0 if a system call could be fatal (seccomp): then only remembered modules are
* known. Not reentrant: the caller must ensure that. */
PERIMORTEM_API void pmr_find_caller(uintptr_t address, int may_read, pmr_caller *caller);

#endif
