/* Hooks of the functions that end a process; record thread and caller in the recorder.
 *
 * The main thread leaving through the program's own code or its language runtime is a goodbye; a
 * library, or another thread, ending the process is not. Each hook then calls the real function. */
#define _GNU_SOURCE
#include "hooks.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../src/clock.h"
#include "../src/linux/compat.h"
#include "../src/crc32.h"
#include "../src/linux/caller.h"
#include "../src/linux/crash_handler.h"
#include "../src/recorder.h"
#include "perimortem.h"

typedef void (*status_function)(int) __attribute__((noreturn));
typedef void (*plain_function)(void) __attribute__((noreturn));

static status_function real_exit, real_quick_exit;
static plain_function real_abort;

static pthread_t main_thread;

static void resolve(void) {
  real_exit = (status_function)(uintptr_t)dlsym(RTLD_NEXT, "exit");
  real_quick_exit = (status_function)(uintptr_t)dlsym(RTLD_NEXT, "quick_exit");
  real_abort = (plain_function)(uintptr_t)dlsym(RTLD_NEXT, "abort");
}

void pmr_prepare_exit_hooks(void) {
  pmr_crc32_prepare();
  pmr_remember_modules();
  main_thread = pthread_self();
  resolve();
}

void pmr_begin_exit_hooks(void) { main_thread = pthread_self(); }

/* Two threads at once, or a signal in between: only one records. Static, for small stacks. */
static _Atomic uint32_t busy;
static pmr_exit_note note;

static void fill_note(uint32_t kind, int status, uintptr_t address, const pmr_caller *caller,
                      int is_main) {
  uint32_t pid = ((pmr_header *)(void *)pmr_base())->pid;
  memset(&note, 0, sizeof note);
  note.kind = kind;
  note.status = status;
  note.is_main_thread = (uint32_t)is_main;
  note.caller = caller->kind;
  note.monotonic_ns = pmr_now_ns();
  note.address = address;
  note.module_offset = caller->module_offset;
  pmr_copy_name(note.module, sizeof note.module, caller->module);
  note.tid = is_main || pmr_under_seccomp ? pid : (uint32_t)syscall(SYS_gettid);
  if (!pmr_under_seccomp) prctl(PR_GET_NAME, note.thread_name, 0, 0, 0);
  note.crc32 = pmr_crc32(0, &note, offsetof(pmr_exit_note, state));
}

static void publish_note(unsigned char *base) {
  pmr_exit_note *target = (pmr_exit_note *)(void *)(base + PMR_EXIT_NOTE_OFFSET);
  pmr_word *state = (pmr_word *)(void *)&target->state;
  atomic_store_explicit(state, 0, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
  memcpy(target, &note, offsetof(pmr_exit_note, state));
  atomic_store_explicit(state, PMR_EXIT_NOTE_WRITTEN, memory_order_release);
}

static void note_exit(uint32_t kind, int status, void *return_address) {
  unsigned char *base = pmr_base();
  if (!base || pmr_is_leaving) return;
  /* A vfork child shares our memory, including the recorder, but is not the process that ends. */
  if (!pmr_under_seccomp && ((pmr_header *)(void *)base)->pid != (uint32_t)getpid()) return;
  if (atomic_exchange(&busy, 1)) return;

  int saved_errno = errno;
  int is_main = pthread_equal(pthread_self(), main_thread);
  /* A library forked, and its child, whose exec failed, must exit by _exit. */
  if (is_main && pmr_has_failed_to_exec && kind == PMR_EXIT_KIND_UNDERSCORE_EXIT &&
      ((pmr_header *)(void *)base)->flags & PMR_HEADER_FLAG_FORKED) {
    perimortem_goodbye(status);
    pmr_forget_good_end();
    errno = saved_errno;
    atomic_store(&busy, 0);
    return;
  }
  pmr_caller caller;
  uintptr_t address = (uintptr_t)return_address - 1; /* inside the call, not after it */
  pmr_find_caller(address, !pmr_under_seccomp, &caller);
  fill_note(kind, status, address, &caller, is_main);
  if (!pmr_under_seccomp && kind != PMR_EXIT_KIND_ABORT)
    pmr_note_taken_fault((uintptr_t)__builtin_frame_address(0));
  publish_note(base);
  int wanted = caller.kind == PMR_EXIT_CALLER_VIRTUAL_MACHINE ||
               (is_main && (caller.kind == PMR_EXIT_CALLER_PROGRAM ||
                            caller.kind == PMR_EXIT_CALLER_RUNTIME));
  /* exit() still runs the program's handlers; our own, among the last, writes the goodbye. */
  if (wanted && kind != PMR_EXIT_KIND_EXIT && kind != PMR_EXIT_KIND_ABORT) {
    perimortem_goodbye(status);
    pmr_forget_good_end();
  }
  errno = saved_errno;
  atomic_store(&busy, 0);
}

PERIMORTEM_API __attribute__((noreturn)) void exit(int status) {
  note_exit(PMR_EXIT_KIND_EXIT, status, __builtin_return_address(0));
  if (!real_exit) resolve(); /* another library's constructor ran before ours */
  if (real_exit) real_exit(status);
  for (;;) syscall(SYS_exit_group, status);
}

PERIMORTEM_API __attribute__((noreturn)) void quick_exit(int status) {
  note_exit(PMR_EXIT_KIND_QUICK_EXIT, status, __builtin_return_address(0));
  if (!real_quick_exit) resolve();
  if (real_quick_exit) real_quick_exit(status);
  for (;;) syscall(SYS_exit_group, status);
}

PERIMORTEM_API __attribute__((noreturn)) void _exit(int status) {
  note_exit(PMR_EXIT_KIND_UNDERSCORE_EXIT, status, __builtin_return_address(0));
  for (;;) syscall(SYS_exit_group, status);
}

PERIMORTEM_API __attribute__((noreturn)) void _Exit(int status) {
  note_exit(PMR_EXIT_KIND_CAPITAL_EXIT, status, __builtin_return_address(0));
  for (;;) syscall(SYS_exit_group, status);
}

/* The program's own handler for SIGABRT runs first, as usual. When it returns, abort() sets the default
* action past every hook: so the crash is reported here, before that. */
static void raise_twice(void) {
  struct sigaction none;
  sigset_t abort_signal;
  if (!pmr_has_crash_handler() || !pmr_has_handler_for(SIGABRT)) return;
  sigemptyset(&abort_signal);
  sigaddset(&abort_signal, SIGABRT);
  sigprocmask(SIG_UNBLOCK, &abort_signal, NULL); /* despite its name, for this thread only */
  raise(SIGABRT);
  memset(&none, 0, sizeof none);
  none.sa_handler = SIG_DFL;
  pmr_want_action(SIGABRT, &none, NULL);
  raise(SIGABRT);
}

PERIMORTEM_API __attribute__((noreturn)) void abort(void) {
  note_exit(PMR_EXIT_KIND_ABORT, -1, __builtin_return_address(0));
  raise_twice();
  if (!real_abort) resolve();
  if (real_abort) real_abort();
  for (;;) raise(SIGABRT);
}
