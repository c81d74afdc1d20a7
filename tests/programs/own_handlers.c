/* own_handlers WAY: what programs with their own handlers may do; with us it must be as without us. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf back, inner;
static volatile int count, inside, nested;
static char *page;

static void fault(void) { *(volatile int *)16 = 1; }

static void jump(int number) { siglongjmp(back, number); }

/* More than our signal stacks have; and the program did not ask for one. */
static void use_much_stack(int number) {
  volatile char large[200 * 1024];
  memset((char *)large, number, sizeof large);
  mprotect(page, 4096, PROT_READ | PROT_WRITE);
  page[1] = large[77777];
}

static int large_stack(void) {
  page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  signal(SIGSEGV, use_much_stack);
  page[0] = 1;
  return page[1] == SIGSEGV ? 0 : 9;
}

#pragma GCC diagnostic ignored "-Winfinite-recursion"
__attribute__((noinline)) static int descend(volatile int depth) {
  volatile char frame[256];
  frame[0] = (char)depth;
  return descend(depth + 1) + frame[0];
}

static void descend_for_ever(int number) { descend(number); }

/* Its signal stack wanders to lower addresses, between faults that it jumps out of. */
static int moving_stack(void) {
  char *room = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = jump;
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGSEGV, &action, 0);
  for (volatile int i = 3; i >= 0; i--) {
    stack_t stack = {.ss_sp = room + i * (256 << 10), .ss_size = 65536};
    sigaltstack(&stack, 0);
    if (sigsetjmp(back, 1) == 0) fault();
    count++;
  }
  return count == 4 ? 0 : 9;
}

__attribute__((noinline)) static void fault_below(int depth) {
  volatile char frame[4096];
  frame[0] = (char)depth;
  if (depth) fault_below(depth - 1);
  else fault();
  frame[1] = frame[0];
}

static int no_stack(void) {
  stack_t none = {.ss_flags = SS_DISABLE};
  sigaltstack(&none, 0);
  signal(SIGSEGV, jump);
  for (volatile int i = 0; i < 4; i++) {
    if (sigsetjmp(back, 1) == 0) fault_below(i * 3);
    count++;
  }
  return count == 4 ? 0 : 9;
}

/* How crash reporters try memory: in the handler, with the signal let through. */
static void try_memory(int number) {
  sigset_t own;
  if (inside++) siglongjmp(inner, 1);
  sigemptyset(&own);
  sigaddset(&own, number);
  sigprocmask(SIG_UNBLOCK, &own, 0);
  if (sigsetjmp(inner, 1) == 0) fault();
  siglongjmp(back, 1);
}

static void raise_and_leave(int number) {
  raise(number);
  _exit(3);
}

static void reset_and_leave(int number) {
  signal(number, SIG_DFL);
  raise(number);
  _exit(3);
}

static void raise_again(int number) {
  if (count++ < 3) raise(number);
}

static void note_nesting(int number) {
  (void)number;
  count++;
  nested += inside;
}

static void raise_another(int number) {
  (void)number;
  inside = 1;
  raise(SIGTRAP);
  inside = 0;
}

static void do_nothing(int number) { (void)number; }

static int mask(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = raise_another;
  sigfillset(&action.sa_mask);
  sigaction(SIGABRT, &action, 0);
  signal(SIGTRAP, note_nesting);
  raise(SIGABRT);
  return count == 1 && nested == 0 ? 0 : 9;
}

static int held(void) {
  sigset_t trap;
  int number = 0;
  sigemptyset(&trap);
  sigaddset(&trap, SIGTRAP);
  sigprocmask(SIG_BLOCK, &trap, 0);
  raise(SIGTRAP);
  signal(SIGABRT, do_nothing);
  raise(SIGABRT);
  sigwait(&trap, &number);
  return number == SIGTRAP ? 0 : 9;
}

static int status_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

static int vforked(void) {
  signal(SIGSEGV, jump);
  pid_t child = vfork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    _exit(0);
  }
  status_of(child);
  if (sigsetjmp(back, 1) == 0) fault();
  return 0;
}

static int raw_fork(void) {
  signal(SIGSEGV, jump);
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) {
    if (sigsetjmp(back, 1) == 0) fault();
    _exit(7);
  }
  return status_of(child) == 7 << 8 ? 0 : 9;
}

/* How libraries ask what the processor can do. */
static int feature_probe(void) {
  signal(SIGILL, jump);
  if (sigsetjmp(back, 1) == 0) __builtin_trap();
  signal(SIGILL, SIG_DFL);
  return 0;
}

/* A fault that is repaired, and much later an abort in a function whose memory was never written: what the
 * kernel left on the stack for the handler is still there. */
static void repair(int number) {
  (void)number;
  mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

__attribute__((noinline)) static void abort_above_old_stack(void) {
  volatile char unwritten[64 * 1024];
  __asm__ volatile("" : : "r"(unwritten) : "memory");
  abort();
}

static void repaired_then_abort(void) {
  page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  signal(SIGSEGV, repair);
  page[0] = 1;
  abort_above_old_stack();
}

static volatile int may_go;

static void *fault_when_cancelled(void *unused) {
  while (!may_go) continue;
  fault();
  return unused;
}

static void cancelled(void) {
  pthread_t thread;
  pthread_create(&thread, 0, fault_when_cancelled, 0);
  pthread_cancel(thread);
  may_go = 1;
  pthread_join(thread, 0);
}

static void no_descriptors(void) {
  while (dup(0) >= 0) continue;
  fault();
}

int main(int argc, char **argv) {
  const char *way = argc > 1 ? argv[1] : "";
  struct sigaction once;
  memset(&once, 0, sizeof once);
  once.sa_flags = (int)SA_RESETHAND;
  once.sa_handler = raise_and_leave;
  if (!strcmp(way, "large_stack")) return large_stack();
  if (!strcmp(way, "moving_stack")) return moving_stack();
  if (!strcmp(way, "no_stack")) return no_stack();
  if (!strcmp(way, "mask")) return mask();
  if (!strcmp(way, "held")) return held();
  if (!strcmp(way, "vforked")) return vforked();
  if (!strcmp(way, "raw_fork")) return raw_fork();
  if (!strcmp(way, "feature_probe")) return feature_probe();
  if (!strcmp(way, "cancelled")) cancelled();
  if (!strcmp(way, "no_descriptors")) no_descriptors();
  if (!strcmp(way, "repaired_then_abort")) repaired_then_abort();
  if (!strcmp(way, "descend")) signal(SIGSEGV, descend_for_ever);
  if (!strcmp(way, "try_memory")) {
    signal(SIGSEGV, try_memory);
    if (sigsetjmp(back, 1)) return 0;
  }
  if (!strcmp(way, "once")) {
    sigaction(SIGABRT, &once, 0);
    raise(SIGABRT);
  }
  if (!strcmp(way, "reset")) signal(SIGSEGV, reset_and_leave);
  if (!strcmp(way, "again")) {
    signal(SIGTRAP, raise_again);
    raise(SIGTRAP);
    return count == 4 ? 0 : 9;
  }
  if (!strcmp(way, "abort_returns")) {
    signal(SIGABRT, do_nothing);
    abort();
  }
  fault();
  return 9;
}
