/* Does a program bear the preload? Safe in a vfork child and in a signal handler. */
#ifndef PERIMORTEM_IMAGE_H
#define PERIMORTEM_IMAGE_H

#include <stddef.h>

#define PMR_PATH_MAX 4096

/* Remember where our own library lies; called before main. */
void pmr_remember_library(void);

/* 1 when the program at `path` (through #!, four deep) is dynamically linked by our loader, has no
 * sanitizer that must come first, and our library can be read where this process now stands (after a
 * chroot it cannot). A path that cannot be read: 0. */
int pmr_bears_preload(const char *path);

/* 1 when this process runs a Go program: its runtime forks and execs by system calls of its own. */
int pmr_is_go_program(void);

/* The file that execvp would take for `file`, into `path`; NULL when there is none. */
const char *pmr_find_on_path(const char *file, char path[PMR_PATH_MAX]);

#endif
