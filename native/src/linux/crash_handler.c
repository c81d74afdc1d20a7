/* The handler of fatal signals: record, report to the monitor, wait for its dump, chain or reraise.
 *
 * We are installed only where the program wants the default action: signals that it handles itself are left
 * to it, with the mask, the stack and the flags that it asked for, exactly as without us. If its own handler
 * ends by the default action (signal(n, SIG_DFL), raise(n); or abort), that reaches us, and the fault that
 * the handler was called for is found on the stack (signal_frame.h).
 * docs/crash-handler.md describes the behaviour from outside.
 *
 * Everything that runs in a handler is async-signal-safe: direct system calls (raw.h), no lock that
 * the interrupted code could hold, no allocation, and little stack. */
#define _GNU_SOURCE
#include "crash_handler.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "../crc32.h"
#include "../lock.h"
#include "../recorder.h"
#include "alternate_stack.h"
#include "caller.h"
#include "crash_note.h"
#include "raw.h"
#include "signal_frame.h"
#include "wire.h"

/* glibc's sigaction itself, bypassing any hook. */
extern int __sigaction(int, const struct sigaction *, struct sigaction *);

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
#define ALIGNMENT_CHECK 0x40000 /* EFLAGS.AC */
#define CRASH_SIGNALS (sizeof crash_signals / sizeof *crash_signals)
#define SIGNALS_MAX 32

/* The action that the program requested, if another is installed in the kernel: our handler for the default
* action, the wrapper of an SA_RESETHAND handler, or the first-chance handler. */
static struct sigaction wanted[SIGNALS_MAX];
static pmr_lock change_lock = PMR_UNLOCKED;

static _Atomic int is_installed;
static _Atomic int owner_pid;
static _Atomic int has_own_handlers;
static _Atomic unsigned is_reentrant; /* one bit per signal: SA_NODEFER */
static uint32_t answer_timeout_ms = PMR_ANSWER_TIMEOUT_MS;

int pmr_is_crash_signal(int number) {
  for (size_t i = 0; i < CRASH_SIGNALS; i++)
    if (crash_signals[i] == number) return 1;
  return 0;
}

static int is_default(const struct sigaction *action) {
  return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_DFL;
}

static int is_ignored(const struct sigaction *action) {
  return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_IGN;
}

/* A vfork child has our memory and its own signal actions; a raw fork has a copy of both. */
static int is_owner(void) { return atomic_load(&owner_pid) == (int)PMR_RAW0(SYS_getpid); }

/* The kernel's form of a signal set: its first word. */
static void set_mask(int how, const sigset_t *set) {
  PMR_RAW4(SYS_rt_sigprocmask, how, set, 0, 8);
}

/* Whether the interrupted instruction will raise the signal again when we return to it. */
static int will_refault(int number, const siginfo_t *info) {
  return info->si_code > 0 &&
         (number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE);
}

static void set_default(int number) {
  struct sigaction none;
  memset(&none, 0, sizeof none);
  none.sa_handler = SIG_DFL;
  __sigaction(number, &none, NULL);
}

/* Queued, so that it reaches the handler installed now, after our return. */
static void reraise_queued(const pmr_fault *fault) {
  sigset_t held;
  long pid = PMR_RAW0(SYS_getpid), tid = PMR_RAW0(SYS_gettid);
  sigemptyset(&held);
  sigaddset(&held, fault->number);
  set_mask(SIG_BLOCK, &held); /* until we have returned to the interrupted code */
  siginfo_t info = *fault->info;
  if (PMR_RAW4(SYS_rt_tgsigqueueinfo, pid, tid, fault->number, &info) != 0)
    PMR_RAW3(SYS_tgkill, pid, tid, fault->number);
}

static void chain_or_reraise(const pmr_fault *fault) {
  /* The first process of a namespace ignores fatal signals that it sends itself. */
  if (!will_refault(fault->number, fault->info) && PMR_RAW0(SYS_getpid) == 1)
    PMR_RAW1(SYS_exit_group, 128 + fault->number);
  set_default(fault->number);
  if (!will_refault(fault->number, fault->info)) reraise_queued(fault);
}

/* One thread reports; others that crash meanwhile wait for it, since it ends the process. */
static _Atomic int dumping_tid;
static _Atomic int is_reported;
static pmr_crash_note fatal_note;
static unsigned char message[PMR_CRASH_MESSAGE_SIZE];

static void pause_ms(long ms) {
  struct timespec wait = {0, ms * 1000000}; /* the kernel updates it with the remaining time */
  PMR_RAW5(SYS_ppoll, 0, 0, &wait, 0, 0);
}

static void wait_for_dump_done(void) {
  uint64_t deadline_ns = pmr_precise_now_ns() + (uint64_t)(answer_timeout_ms + 1000) * 1000000u;
  while (!atomic_load(&is_reported) && pmr_precise_now_ns() < deadline_ns) pause_ms(5);
  for (int i = 0; i < 50; i++) pause_ms(10); /* so that the process ends by the reported signal */
}

static void report_to_monitor(void) {
  uint64_t deadline_ns = pmr_precise_now_ns() + (uint64_t)answer_timeout_ms * 1000000u;
  int fd = pmr_connect(deadline_ns);
  if (fd < 0) return;
  pmr_frame frame = pmr_make_frame(PMR_FRAME_KIND_CRASH), answer;
  frame.timeout_ms = answer_timeout_ms;
  memcpy(message, &frame, sizeof frame);
  memcpy(message + sizeof frame, &fatal_note, sizeof fatal_note);
  pmr_permit_peer(fd);
  pmr_ask(fd, message, sizeof message, &answer, deadline_ns);
  pmr_disconnect(fd);
}

static void write_down(uint64_t state) {
  pmr_crash_note *area = pmr_crash_area();
  pmr_publish_crash(&fatal_note, state);
  if (area == &fatal_note) return;
  atomic_store_explicit((_Atomic uint64_t *)(void *)&area->state, PMR_CRASH_STATE_WRITING,
                        memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
  memcpy(area, &fatal_note, offsetof(pmr_crash_note, state));
  atomic_store_explicit((_Atomic uint64_t *)(void *)&area->state, state, memory_order_release);
}

/* raise() and abort() in a handler are about the fault that it was called for. */
static int is_sent_by_itself(const siginfo_t *info) {
  return info->si_code <= 0 && info->si_pid == (pid_t)PMR_RAW0(SYS_getpid);
}

static void report(const pmr_fault *fault) {
  int tid = (int)PMR_RAW0(SYS_gettid), expected = 0;
  if (!atomic_compare_exchange_strong(&dumping_tid, &expected, tid)) {
    if (expected != tid) wait_for_dump_done(); /* else: our own handler crashed */
    return;
  }
  pmr_fault root;
  int is_own = is_sent_by_itself(fault->info);
  uint64_t mask = pmr_fault_mask(fault);
  int has_root = is_own && pmr_find_signal_frame(pmr_fault_stack_pointer(fault), mask, &root);
  int is_late = is_own && !has_root && pmr_restore_late_fault(fault, &root);
  pmr_fill_crash(&fatal_note, has_root || is_late ? &root : fault);
  if (has_root) fatal_note.nested_code = (uint32_t)fault->number;
  write_down(PMR_CRASH_STATE_FATAL);
  report_to_monitor();
  atomic_store(&is_reported, 1);
}

/* The kernel drops another process's signal for which the first process of a namespace has no handler. */
static int is_dropped_for_init(int number, const siginfo_t *info) {
  return PMR_RAW0(SYS_getpid) == 1 && info->si_code <= 0 &&
         !(number == SIGABRT && is_sent_by_itself(info));
}

/* A program that requested alignment faults (EFLAGS.AC) did not request ours. */
static void allow_unaligned_access(void) {
#ifdef __x86_64__
  __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~(unsigned long long)ALIGNMENT_CHECK);
#endif
}

/* Stands for the default action. */
static void handle(int number, siginfo_t *info, void *context) {
  allow_unaligned_access();
  int saved_errno = errno;
  pmr_fault fault = {number, info, context};
  if (!is_dropped_for_init(number, info)) {
    if (is_owner()) report(&fault);
    chain_or_reraise(&fault);
  }
  errno = saved_errno;
}

static int put_default_in_place(int number, int flags) {
  struct sigaction ours;
  memset(&ours, 0, sizeof ours);
  ours.sa_sigaction = handle;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | (flags & SA_RESTART);
  sigfillset(&ours.sa_mask);
  for (size_t i = 0; i < CRASH_SIGNALS; i++) sigdelset(&ours.sa_mask, crash_signals[i]);
  return __sigaction(number, &ours, NULL);
}

static void want_default(int number) {
  memset(&wanted[number], 0, sizeof wanted[number]);
  wanted[number].sa_handler = SIG_DFL;
}

static void call(const struct sigaction *action, int number, siginfo_t *info, void *context) {
  if (action->sa_flags & SA_SIGINFO)
    action->sa_sigaction(number, info, context);
  else
    action->sa_handler(number);
}

/* For an SA_RESETHAND handler: the default action that holds afterwards is our handler. */
static void handle_resethand(int number, siginfo_t *info, void *context) {
  struct sigaction action = wanted[number];
  if (is_owner()) {
    want_default(number);
    put_default_in_place(number, 0);
  } else {
    set_default(number);
  }
  call(&action, number, info, context);
}

static int put_once_in_place(int number, const struct sigaction *action) {
  struct sigaction ours = *action;
  ours.sa_sigaction = handle_resethand;
  ours.sa_flags = (action->sa_flags & ~(int)SA_RESETHAND) | SA_SIGINFO;
  return __sigaction(number, &ours, NULL);
}

/* For a handler that surely ends the process: we report first, then it is called. */
static void handle_first_chance(int number, siginfo_t *info, void *context) {
  allow_unaligned_access();
  int saved_errno = errno;
  pmr_fault fault = {number, info, context};
  if (is_owner()) report(&fault);
  __sigaction(number, &wanted[number], NULL);
  if (!will_refault(number, info)) reraise_queued(&fault);
  errno = saved_errno;
}

static int is_ours(const struct sigaction *action) {
  return action->sa_sigaction == handle || action->sa_sigaction == handle_resethand ||
         action->sa_sigaction == handle_first_chance;
}

/* Whether the kernel's action stands for the one that the program requested and reads back. */
static int is_as_wanted(int number, const struct sigaction *now) {
  return is_ours(now) || (!is_default(now) && !is_ignored(now) &&
                          now->sa_sigaction == wanted[number].sa_sigaction);
}

int pmr_is_reentrant(int number) { return atomic_load(&is_reentrant) >> number & 1; }

static void note_handler(int number, const struct sigaction *action) {
  if (is_ignored(action) || is_default(action)) return;
  atomic_store(&has_own_handlers, 1);
  if (action->sa_flags & SA_NODEFER)
    atomic_fetch_or(&is_reentrant, 1u << number);
  else
    atomic_fetch_and(&is_reentrant, ~(1u << number));
}

static int put_in_place(int number, const struct sigaction *action) {
  note_handler(number, action);
  if (!is_owner()) return __sigaction(number, action, NULL);
  if (is_ignored(action)) return __sigaction(number, action, NULL);
  wanted[number] = *action;
  if (is_default(action)) return put_default_in_place(number, action->sa_flags);
  if (action->sa_flags & SA_RESETHAND) return put_once_in_place(number, action);
  /* With SA_SIGINFO the kernel leaves the handler's cause on the stack. */
  struct sigaction theirs = *action;
  theirs.sa_flags |= SA_SIGINFO;
  return __sigaction(number, &theirs, NULL);
}

int pmr_want_action(int number, const struct sigaction *action, struct sigaction *old) {
  sigset_t every, before;
  struct sigaction previous;
  sigfillset(&every);
  sigprocmask(SIG_SETMASK, &every, &before);
  int locks = is_owner(); /* in a forked copy the lock's holder may not exist */
  if (locks) pmr_acquire(&change_lock);
  int result = __sigaction(number, NULL, &previous);
  if (result == 0 && is_as_wanted(number, &previous)) previous = wanted[number];
  if (result == 0 && action) result = put_in_place(number, action);
  if (old && result == 0) *old = previous;
  if (locks) pmr_release(&change_lock);
  sigprocmask(SIG_SETMASK, &before, NULL);
  return result;
}

int pmr_has_handler_for(int number) {
  struct sigaction now;
  return __sigaction(number, NULL, &now) == 0 && !is_default(&now) && !is_ignored(&now) &&
         now.sa_sigaction != handle;
}

void pmr_note_taken_fault(uintptr_t stack_pointer) {
  static _Atomic int busy;
  pmr_fault root;
  if (!atomic_load(&is_installed) || !atomic_load(&has_own_handlers) || !is_owner()) return;
  if (atomic_load(&dumping_tid) || atomic_exchange(&busy, 1)) return;
  uint64_t mask = 0;
  PMR_RAW4(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mask, 8);
  if (pmr_find_signal_frame(stack_pointer, mask, &root) && !atomic_load(&dumping_tid)) {
    pmr_fill_crash(&fatal_note, &root);
    write_down(PMR_CRASH_STATE_TAKEN);
  }
  atomic_store(&busy, 0);
}

int pmr_has_crash_handler(void) { return atomic_load(&is_installed); }

void pmr_set_monitor(const char *socket_path, uint32_t timeout_ms) {
  pmr_set_socket_path(socket_path);
  answer_timeout_ms = timeout_ms ? timeout_ms : PMR_ANSWER_TIMEOUT_MS;
}

/* A forked child owns its crashes, and no thread of it is reporting one. */
static void begin_child(void) {
  if (!atomic_load(&is_installed)) return;
  change_lock = (pmr_lock)PMR_UNLOCKED;
  atomic_store(&owner_pid, getpid());
  atomic_store(&dumping_tid, 0);
  atomic_store(&is_reported, 0);
}

/* If no hook intercepts sigaction (a library that was loaded late) existing handlers are left as they
* are; but Python's faulthandler is known to end the process by the default action. */
static void stand_before_existing(int number, const struct sigaction *existing) {
  pmr_caller caller;
  pmr_find_caller((uintptr_t)existing->sa_sigaction, 0, &caller);
  note_handler(number, existing);
  int is_faulthandler = pmr_is_python(caller.module) && (existing->sa_flags & SA_NODEFER);
  if (pmr_hooks_sigaction() || !is_faulthandler) return;
  struct sigaction ours = *existing;
  wanted[number] = *existing;
  ours.sa_sigaction = handle_first_chance;
  ours.sa_flags |= SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  __sigaction(number, &ours, NULL);
}

int pmr_install_crash_handler(void) {
  static int follows_forks;
  if (atomic_exchange(&is_installed, 1)) return 0;
  if (!follows_forks) follows_forks = pthread_atfork(NULL, NULL, begin_child) == 0;
  pmr_crc32_prepare();
  if (!pmr_knows_modules()) pmr_remember_modules();
  atomic_store(&owner_pid, getpid());
  pmr_prepare_alternate_stacks();
  pmr_use_alternate_stack(pmr_make_alternate_stack());
  for (size_t i = 0; i < CRASH_SIGNALS; i++) {
    int number = crash_signals[i];
    struct sigaction before;
    if (__sigaction(number, NULL, &before) != 0) continue;
    if (is_default(&before)) {
      wanted[number] = before;
      put_default_in_place(number, before.sa_flags);
    } else if (!is_ignored(&before)) {
      stand_before_existing(number, &before);
    }
  }
  return 0;
}

void pmr_remove_crash_handler(void) {
  if (!atomic_exchange(&is_installed, 0)) return;
  for (size_t i = 0; i < CRASH_SIGNALS; i++) {
    struct sigaction now; /* a handler that replaced ours meanwhile stays */
    if (__sigaction(crash_signals[i], NULL, &now) == 0 && is_ours(&now))
      __sigaction(crash_signals[i], &wanted[crash_signals[i]], NULL);
  }
}
