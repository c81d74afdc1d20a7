/* Notice that the program puts itself under seccomp: from then on the hooks make no system call. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../src/crash.h"
#include "../src/linux/compat.h"
#include "../src/recorder.h"
#include "hooks.h"
#include "perimortem.h"

int pmr_under_seccomp;

typedef int (*prctl_function)(int, unsigned long, unsigned long, unsigned long, unsigned long);
typedef long (*syscall_function)(long, long, long, long, long, long, long);

int execveat(int, const char *, char *const[], char *const[], int); /* glibc 2.34; ours, here */

static prctl_function real_prctl;
static syscall_function real_syscall;

void pmr_prepare_seccomp_hooks(void) {
  real_prctl = (prctl_function)(uintptr_t)dlsym(RTLD_NEXT, "prctl");
  real_syscall = (syscall_function)(uintptr_t)dlsym(RTLD_NEXT, "syscall");
}

/* A vfork child that sandboxes itself shares our memory, but its filter is not ours. Checked before the
* filter is set, while any call is allowed. */
static void note_seccomp(void) {
  unsigned char *base = pmr_base();
  if (!base || ((pmr_header *)(void *)base)->pid == (uint32_t)getpid()) {
    pmr_under_seccomp = 1;
    pmr_stop_following(); /* then a fork makes none of our system calls either */
    pmr_remove_crash_handler();
  }
}

long pmr_real_syscall(long number, long a, long b, long c, long d, long e, long f) {
  if (!real_syscall) pmr_prepare_seccomp_hooks(); /* another library's constructor ran before ours */
  return real_syscall(number, a, b, c, d, e, f);
}

/* Both are variadic; on x86-64 and aarch64 their arguments are registers, passed on as they are. */
PERIMORTEM_API int prctl(int option, ...) {
  va_list list;
  va_start(list, option);
  unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long);
  unsigned long c = va_arg(list, unsigned long), d = va_arg(list, unsigned long);
  va_end(list);
  if (option == PR_SET_SECCOMP) note_seccomp();
  if (!real_prctl) pmr_prepare_seccomp_hooks();
  return real_prctl(option, a, b, c, d);
}

PERIMORTEM_API long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
  long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
  va_end(list);
  int sets_filter = (a == SECCOMP_SET_MODE_FILTER && c) || (a == SECCOMP_SET_MODE_STRICT && !b && !c);
  if (number == SYS_seccomp && sets_filter) note_seccomp(); /* else it only queries what is available */
  if (number == SYS_execve) return execve((const char *)a, (char *const *)b, (char *const *)c);
  if (number == SYS_execveat)
    return execveat((int)a, (const char *)b, (char *const *)c, (char *const *)d, (int)e);
  return pmr_real_syscall(number, a, b, c, d, e, f);
}
