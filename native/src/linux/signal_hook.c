/* Hooks of sigaction and related functions for the crash signals: if the program wants the default action
* the kernel gets our handler, and the program reads back what it set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "compat.h"
#include "crash_handler.h"
#include "perimortem.h"

typedef void (*handler)(int);
typedef handler (*set_function)(int, handler);

extern int __sigaction(int, const struct sigaction *, struct sigaction *);

static int is_ours(int number) { return pmr_has_crash_handler() && pmr_is_crash_signal(number); }

PERIMORTEM_API int sigaction(int number, const struct sigaction *action, struct sigaction *old) {
  return is_ours(number) ? pmr_want_action(number, action, old) : __sigaction(number, action, old);
}

/* Like signal(2): with BSD semantics, its own signal blocked; or with those of System V. */
static handler set_handler(int number, handler wanted, int flags) {
  struct sigaction action, old;
  memset(&action, 0, sizeof action);
  action.sa_handler = wanted;
  action.sa_flags = flags;
  if (wanted == SIG_ERR || number < 1 || number > SIGRTMAX) {
    errno = EINVAL;
    return SIG_ERR;
  }
  if (!(flags & (int)SA_NODEFER)) sigaddset(&action.sa_mask, number);
  int result = is_ours(number) ? pmr_want_action(number, &action, &old)
                               : __sigaction(number, &action, &old);
  return result == 0 ? old.sa_handler : SIG_ERR;
}

/* Resolved before main, since signal() may be called where dlsym is unsafe: inside a handler, or
* while another thread is in dlopen. */
#define STAND_BEFORE(name, flags)                                                                  \
  static set_function real_##name;                                                                 \
  PERIMORTEM_API handler name(int number, handler wanted) {                                        \
    return is_ours(number) || !real_##name ? set_handler(number, wanted, flags)                    \
                                           : real_##name(number, wanted);                          \
  }

#define BSD_FLAGS SA_RESTART
#define SYSTEM_V_FLAGS ((int)(SA_RESETHAND | SA_NODEFER))

STAND_BEFORE(signal, BSD_FLAGS)
STAND_BEFORE(bsd_signal, BSD_FLAGS)
STAND_BEFORE(ssignal, BSD_FLAGS)
STAND_BEFORE(sysv_signal, SYSTEM_V_FLAGS)
STAND_BEFORE(__sysv_signal, SYSTEM_V_FLAGS)

/* These two change mask and action together: the C library does it, and we check the result. */
static set_function real_sigset;
static int (*real_sigignore)(int);

static void take_up(int number) {
  struct sigaction now;
  if (__sigaction(number, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO))
    pmr_want_action(number, &now, NULL);
}

PERIMORTEM_API handler sigset(int number, handler wanted) {
  struct sigaction before;
  if (!real_sigset) real_sigset = (set_function)(uintptr_t)dlsym(RTLD_NEXT, "sigset");
  if (!is_ours(number)) return real_sigset ? real_sigset(number, wanted) : SIG_ERR;
  pmr_want_action(number, NULL, &before);
  handler old = real_sigset(number, wanted);
  take_up(number);
  return old == SIG_ERR || old == SIG_HOLD ? old : before.sa_handler;
}

PERIMORTEM_API int sigignore(int number) {
  if (!real_sigignore) real_sigignore = (int (*)(int))(uintptr_t)dlsym(RTLD_NEXT, "sigignore");
  return real_sigignore ? real_sigignore(number) : -1;
}

__attribute__((constructor)) static void find_real(void) {
  int saved_errno = errno;
#define FIND(name) real_##name = (set_function)(uintptr_t)dlsym(RTLD_NEXT, #name)
  FIND(signal);
  FIND(bsd_signal);
  FIND(ssignal);
  FIND(sysv_signal);
  FIND(__sysv_signal);
  FIND(sigset);
  real_sigignore = (int (*)(int))(uintptr_t)dlsym(RTLD_NEXT, "sigignore");
  errno = saved_errno;
}

int pmr_hooks_sigaction(void) {
  /* The one that the program itself is bound to: found from the start of the search order. */
  void *first = dlsym(RTLD_DEFAULT, "sigaction");
  void *of_libc = dlsym(RTLD_NEXT, "sigaction");
  return first != NULL && first != of_libc;
}
