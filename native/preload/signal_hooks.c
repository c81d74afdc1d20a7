/* Stand before sigaction and its kin for the signals of a crash: what the program asks for is kept by the
 * crash handler, which does it when the signal comes, and stays in place itself. To the program everything
 * looks as if we were not there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "../src/linux/compat.h"
#include "../src/linux/crash_handler.h"
#include "hooks.h"
#include "perimortem.h"

typedef void (*handler)(int);

extern int __sigaction(int, const struct sigaction *, struct sigaction *);

static int is_ours(int number) { return pmr_has_crash_handler() && pmr_is_crash_signal(number); }

PERIMORTEM_API int sigaction(int number, const struct sigaction *action, struct sigaction *old) {
  return is_ours(number) ? pmr_want_action(number, action, old) : __sigaction(number, action, old);
}

/* As signal(2) has it: with the flags of BSD, or with those of System V. */
static handler set_handler(int number, handler wanted, int flags) {
  struct sigaction action, old;
  memset(&action, 0, sizeof action);
  action.sa_handler = wanted;
  action.sa_flags = flags;
  if (wanted == SIG_ERR) {
    errno = EINVAL;
    return SIG_ERR;
  }
  return pmr_want_action(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

static handler call_real(const char *name, int number, handler wanted) {
  typedef handler (*function)(int, handler);
  function real = (function)(uintptr_t)dlsym(RTLD_NEXT, name);
  return real ? real(number, wanted) : SIG_ERR;
}

#define BSD_FLAGS SA_RESTART
#define SYSTEM_V_FLAGS ((int)(SA_RESETHAND | SA_NODEFER))

#define STAND_BEFORE(name, flags)                               \
  PERIMORTEM_API handler name(int number, handler wanted) {     \
    return is_ours(number) ? set_handler(number, wanted, flags) \
                           : call_real(#name, number, wanted);  \
  }

STAND_BEFORE(signal, BSD_FLAGS)
STAND_BEFORE(bsd_signal, BSD_FLAGS)
STAND_BEFORE(ssignal, BSD_FLAGS)
STAND_BEFORE(sysv_signal, SYSTEM_V_FLAGS)
STAND_BEFORE(__sysv_signal, SYSTEM_V_FLAGS)
