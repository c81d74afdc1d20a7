/* Does a program support the preload? Safe in a vfork child and in a signal handler. */
#ifndef PERIMORTEM_IMAGE_H
#define PERIMORTEM_IMAGE_H

#include <stddef.h>

#define PMR_PATH_MAX 4096

/* Remember the path of our own library; called before main. */
void pmr_remember_library(void);

/* 1 if the program at `path` (through #!, four deep) is dynamically linked by our loader, has no
* sanitizer that must come first, and our library can be read from here (after a chroot it cannot). A path
* that cannot be read: 0. */
int pmr_bears_preload(const char *path);

/* 1 if this process runs a Go program: its runtime forks and execs by direct system calls. */
int pmr_is_go_program(void);

/* The file that execvp would run for `file`, into `path`; NULL if there is none. */
const char *pmr_find_on_path(const char *file, char path[PMR_PATH_MAX]);

#endif
