/* The handler of fatal signals: write down, tell the monitor, wait for its dump, let the signal travel on.
 *
 * We are the last before the default action. What the program itself wants done with such a signal is kept
 * in `wanted` and asked first, exactly as the kernel would: virtual machines, garbage collectors and
 * debuggers of their own take faults that are no crashes. Only where the program wants the default action
 * the signal is a crash. docs/crash-handler.md tells the story from outside.
 *
 * Everything that runs in a handler is async-signal-safe: system calls by themselves (raw.h), no lock that
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
#include "alternate_stack.h"
#include "caller.h"
#include "crash_note.h"
#include "raw.h"
#include "wire.h"

/* glibc's sigaction itself, past a hook that stands before it. */
extern int __sigaction(int, const struct sigaction *, struct sigaction *);

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
#define CRASH_SIGNALS (sizeof crash_signals / sizeof *crash_signals)
#define SIGNALS_MAX 32

/* What the program wants done with each signal; odd while it is being changed. */
static struct sigaction wanted[SIGNALS_MAX];
static _Atomic uint32_t wanted_version;
static pmr_lock change_lock = PMR_UNLOCKED;

static _Atomic int is_installed;
static _Atomic int owner_pid;
static uint32_t answer_timeout_ms = PMR_ANSWER_TIMEOUT_MS;

int pmr_is_crash_signal(int number) {
  for (size_t i = 0; i < CRASH_SIGNALS; i++)
    if (crash_signals[i] == number) return 1;
  return 0;
}

static struct sigaction read_wanted(int number) {
  struct sigaction copy;
  for (int attempt = 0;; attempt++) {
    uint32_t before = atomic_load_explicit(&wanted_version, memory_order_acquire);
    copy = wanted[number];
    atomic_thread_fence(memory_order_acquire);
    if (attempt == 100 || (before % 2 == 0 && before == atomic_load(&wanted_version))) return copy;
  }
}

static void write_wanted(int number, const struct sigaction *action) {
  atomic_fetch_add(&wanted_version, 1);
  wanted[number] = *action;
  atomic_fetch_add(&wanted_version, 1);
}

static int is_default(const struct sigaction *action) {
  return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_DFL;
}

static int is_ignored(const struct sigaction *action) {
  return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_IGN;
}

/* Faults that are on their way through handlers of the program, by thread. A raise() in such a handler, or
 * an abort, is about the fault that it was called for. */
typedef struct passage {
  _Atomic int tid;
  uintptr_t frame;
  pmr_fault fault;
  struct passage *outer;
  int is_masked;         /* the handler runs with its own signal held back */
  siginfo_t raised_info; /* one that came meanwhile, for afterwards */
  int is_raised;
} passage;

#define PASSAGES_MAX 32
/* A handler that faults in its turn so many times, one in the other, will do so until its stack ends. */
#define DEPTH_MAX 6
static passage passages[PASSAGES_MAX];

/* Left by a longjmp: a handler of that thread runs at or above its place on the stack. */
static int is_stale(const passage *p, uintptr_t frame) { return frame >= p->frame; }

static passage *find_passage(int tid, uintptr_t frame) {
  passage *innermost = NULL;
  for (int i = 0; i < PASSAGES_MAX; i++) {
    passage *p = &passages[i];
    if (atomic_load(&p->tid) != tid) continue;
    if (is_stale(p, frame))
      atomic_store(&p->tid, 0);
    else if (!innermost || p->frame < innermost->frame)
      innermost = p;
  }
  return innermost;
}

static passage *enter_passage(int tid, uintptr_t frame, const pmr_fault *fault, passage *outer) {
  for (int i = 0; i < PASSAGES_MAX; i++) {
    int expected = 0;
    if (!atomic_compare_exchange_strong(&passages[i].tid, &expected, -1)) continue;
    passages[i].frame = frame;
    passages[i].fault = *fault;
    passages[i].outer = outer;
    passages[i].is_raised = 0;
    atomic_store(&passages[i].tid, tid);
    return &passages[i];
  }
  return NULL;
}

static int depth_of(const passage *innermost) {
  int depth = 0;
  for (const passage *p = innermost; p; p = p->outer) depth++;
  return depth;
}

/* The first of those that led here: a fault of hardware, if there is one. */
static const pmr_fault *find_root(const pmr_fault *fault, const passage *innermost) {
  const pmr_fault *root = fault;
  for (const passage *p = innermost; p; p = p->outer)
    if (p->fault.info->si_code > 0 || root == fault) root = &p->fault;
  return innermost ? root : fault;
}

/* Signals as the kernel takes them: the first word of a set. */
static void set_mask(int how, const sigset_t *set) {
  PMR_RAW4(SYS_rt_sigprocmask, how, set, 0, 8);
}

/* Whether a signal was made by an instruction that will make it again when we return to it. */
static int comes_again(int number, const siginfo_t *info) {
  return info->si_code > 0 &&
         (number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE);
}

/* The default action, after our return: nobody stands before it any more. */
static void let_travel(const pmr_fault *fault) {
  struct sigaction none;
  sigset_t held;
  memset(&none, 0, sizeof none);
  none.sa_handler = SIG_DFL;
  if (comes_again(fault->number, fault->info)) {
    __sigaction(fault->number, &none, NULL);
    return;
  }
  long pid = PMR_RAW0(SYS_getpid), tid = PMR_RAW0(SYS_gettid);
  /* The first process of a namespace is deaf to what it sends itself. */
  if (pid == 1) PMR_RAW1(SYS_exit_group, 128 + fault->number);
  __sigaction(fault->number, &none, NULL);
  sigemptyset(&held);
  sigaddset(&held, fault->number);
  set_mask(SIG_BLOCK, &held); /* until we have returned to where it came from */
  siginfo_t info = *fault->info;
  if (PMR_RAW4(SYS_rt_tgsigqueueinfo, pid, tid, fault->number, &info) != 0)
    PMR_RAW3(SYS_tgkill, pid, tid, fault->number);
}

/* One thread reports; whoever crashes meanwhile waits for that, for it ends them all. */
static _Atomic int reporter_tid;
static _Atomic int is_reported;
static unsigned char message[PMR_CRASH_MESSAGE_SIZE];

static void await_reporter(void) {
  uint64_t deadline_ns = pmr_precise_now_ns() + (uint64_t)(answer_timeout_ms + 1000) * 1000000u;
  struct timespec wait = {0, 5000000};
  while (!atomic_load(&is_reported) && pmr_precise_now_ns() < deadline_ns)
    PMR_RAW5(SYS_ppoll, 0, 0, &wait, 0, 0);
  /* It goes first, so that the process ends by the signal that was reported. */
  for (int i = 0; i < 100; i++) PMR_RAW5(SYS_ppoll, 0, 0, &wait, 0, 0);
}

static void tell_monitor(const pmr_crash_note *note) {
  uint64_t deadline_ns = pmr_precise_now_ns() + (uint64_t)answer_timeout_ms * 1000000u;
  int fd = pmr_connect(deadline_ns);
  if (fd < 0) return;
  pmr_frame frame = pmr_make_frame(PMR_FRAME_KIND_CRASH), answer;
  frame.timeout_ms = answer_timeout_ms;
  memcpy(message, &frame, sizeof frame);
  memcpy(message + sizeof frame, note, sizeof *note);
  pmr_permit_peer(fd);
  pmr_ask(fd, message, sizeof message, &answer, deadline_ns);
  pmr_disconnect(fd);
}

static void report(const pmr_fault *fault, const passage *innermost) {
  int tid = (int)PMR_RAW0(SYS_gettid), expected = 0;
  if (!atomic_compare_exchange_strong(&reporter_tid, &expected, tid)) {
    if (expected != tid) await_reporter(); /* else: our own handler crashed */
    return;
  }
  const pmr_fault *root = find_root(fault, innermost);
  pmr_crash_note *note = pmr_crash_area();
  pmr_fill_crash(note, root, 1);
  if (root != fault) {
    note->nested_code = (uint32_t)fault->number;
    note->nested_address = fault->info->si_code > 0 ? (uint64_t)(uintptr_t)fault->info->si_addr : 0;
  }
  pmr_publish_crash(note, PMR_CRASH_STATE_FATAL);
  tell_monitor(note);
  atomic_store(&is_reported, 1);
}

/* A fault that a handler of the program takes is written down, too: it may never come back. */
static _Atomic int noting;

static int note_taken(const pmr_fault *fault) {
  if (atomic_load(&reporter_tid) || atomic_exchange(&noting, 1)) return 0;
  pmr_crash_note *note = pmr_crash_area();
  pmr_fill_crash(note, fault, 0);
  pmr_publish_crash(note, PMR_CRASH_STATE_TAKEN);
  return 1;
}

static void forget_taken(void) {
  if (!atomic_load(&reporter_tid)) {
    pmr_crash_note *note = pmr_crash_area();
    atomic_store_explicit((_Atomic uint64_t *)&note->state, PMR_CRASH_STATE_NONE,
                          memory_order_release);
  }
  atomic_store(&noting, 0);
}

/* What the program wants, with the mask and the flags that it asked for. */
static void call_wanted(const struct sigaction *action, const pmr_fault *fault, passage *here) {
  const ucontext_t *context = fault->context;
  sigset_t held = action->sa_mask;
  struct sigaction none;
  unsigned long *words = (unsigned long *)(void *)&held;
  words[0] |= *(const unsigned long *)(const void *)&context->uc_sigmask;
  for (size_t i = 0; i < CRASH_SIGNALS; i++) sigdelset(&held, crash_signals[i]);
  if (action->sa_flags & SA_RESETHAND) {
    memset(&none, 0, sizeof none);
    none.sa_handler = SIG_DFL;
    write_wanted(fault->number, &none);
  }
  here->is_masked = !(action->sa_flags & (SA_NODEFER | SA_RESETHAND));
  set_mask(SIG_SETMASK, &held);
  if (action->sa_flags & SA_SIGINFO)
    action->sa_sigaction(fault->number, fault->info, fault->context);
  else
    action->sa_handler(fault->number);
}

static void pass_on(const struct sigaction *action, const pmr_fault *fault, passage *outer,
                    uintptr_t frame) {
  passage *here = enter_passage((int)PMR_RAW0(SYS_gettid), frame, fault, outer);
  if (!here) { /* more at once than we can follow: then without us */
    passage unfollowed;
    call_wanted(action, fault, &unfollowed);
    return;
  }
  int is_noted = note_taken(fault);
  call_wanted(action, fault, here);
  if (is_noted) forget_taken();
  siginfo_t raised = here->raised_info;
  int is_raised = here->is_raised;
  atomic_store(&here->tid, 0);
  if (is_raised) { /* held back while the handler ran, as the kernel does it */
    pmr_fault again = {fault->number, &raised, fault->context};
    struct sigaction then = read_wanted(fault->number);
    if (is_default(&then)) {
      passage origin = {.fault = *fault, .outer = outer};
      report(&again, &origin);
      let_travel(&again);
    }
  }
}

static void handle(int number, siginfo_t *info, void *context) {
  int saved_errno = errno;
  uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
  pmr_fault fault = {number, info, context};
  /* A vfork child has our memory and our handlers, but its crash is its own. */
  if (atomic_load(&owner_pid) != (int)PMR_RAW0(SYS_getpid)) {
    let_travel(&fault);
    errno = saved_errno;
    return;
  }
  passage *outer = find_passage((int)PMR_RAW0(SYS_gettid), frame);
  struct sigaction action = read_wanted(number);
  int is_own = outer && outer->fault.number == number && outer->is_masked;
  if (is_own && info->si_code <= 0 && !is_default(&action)) {
    outer->raised_info = *info;
    outer->is_raised = 1;
  } else if (is_ignored(&action) && info->si_code <= 0) {
    /* as if it had not come */
  } else if (is_default(&action) || is_ignored(&action) || is_own || depth_of(outer) >= DEPTH_MAX) {
    report(&fault, outer);
    let_travel(&fault);
  } else {
    pass_on(&action, &fault, outer, frame);
  }
  errno = saved_errno;
}

static int put_in_place(int number, int flags) {
  struct sigaction ours;
  memset(&ours, 0, sizeof ours);
  ours.sa_sigaction = handle;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | (flags & SA_RESTART);
  sigfillset(&ours.sa_mask);
  for (size_t i = 0; i < CRASH_SIGNALS; i++) sigdelset(&ours.sa_mask, crash_signals[i]);
  return __sigaction(number, &ours, NULL);
}

int pmr_want_action(int number, const struct sigaction *action, struct sigaction *old) {
  sigset_t every, before;
  int result = 0;
  sigfillset(&every);
  sigprocmask(SIG_SETMASK, &every, &before);
  pmr_acquire(&change_lock);
  struct sigaction previous = wanted[number];
  if (action) {
    /* What is ignored must be so for the kernel, too: it outlives an exec. */
    result = is_ignored(action) ? __sigaction(number, action, NULL)
                                : put_in_place(number, action->sa_flags);
    if (result == 0) write_wanted(number, action);
  }
  if (old && result == 0) *old = previous;
  pmr_release(&change_lock);
  sigprocmask(SIG_SETMASK, &before, NULL);
  return result;
}

int pmr_has_crash_handler(void) { return atomic_load(&is_installed); }

void pmr_set_monitor(const char *socket_path, uint32_t timeout_ms) {
  pmr_set_socket_path(socket_path);
  answer_timeout_ms = timeout_ms ? timeout_ms : PMR_ANSWER_TIMEOUT_MS;
}

/* In a forked child: whose crash it would be, and nobody is at it. */
static void begin_child(void) {
  if (!atomic_load(&is_installed)) return;
  change_lock = (pmr_lock)PMR_UNLOCKED;
  atomic_store(&owner_pid, getpid());
  atomic_store(&reporter_tid, 0);
  atomic_store(&is_reported, 0);
  atomic_store(&noting, 0);
  for (int i = 0; i < PASSAGES_MAX; i++) atomic_store(&passages[i].tid, 0);
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
    struct sigaction before;
    if (__sigaction(crash_signals[i], NULL, &before) != 0) continue;
    write_wanted(crash_signals[i], &before);
    if (!is_ignored(&before)) put_in_place(crash_signals[i], before.sa_flags);
  }
  return 0;
}

void pmr_remove_crash_handler(void) {
  if (!atomic_exchange(&is_installed, 0)) return;
  for (size_t i = 0; i < CRASH_SIGNALS; i++) {
    struct sigaction now;
    /* Who replaced us meanwhile stays. */
    if (__sigaction(crash_signals[i], NULL, &now) == 0 && now.sa_sigaction == handle)
      __sigaction(crash_signals[i], &wanted[crash_signals[i]], NULL);
  }
}
