/* The functions that the preload hooks, and what the hooks share. */
#ifndef PERIMORTEM_HOOKS_H
#define PERIMORTEM_HOOKS_H

/* Look up the real functions now: a hook may run inside a signal handler, where dlsym is unsafe. */
void pmr_prepare_exit_hooks(void);
void pmr_prepare_exec_hooks(void);
void pmr_prepare_seccomp_hooks(void);

/* In a forked child: the thread that forked is its main thread. */
void pmr_begin_exit_hooks(void);

/* syscall(2) itself, past our own hook. */
long pmr_real_syscall(long number, long a, long b, long c, long d, long e, long f);

/* 1 once the program has set a seccomp filter: from then on any of our system calls could kill it. */
extern int pmr_under_seccomp;

/* 1 once an exec of this process has failed. */
extern int pmr_has_failed_to_exec;

/* Remove our library from LD_PRELOAD in place: for a program whose execs bypass our hooks. */
void pmr_leave_environment(void);

/* 1 if children are watched, too. */
extern int pmr_follows_children;

#endif
