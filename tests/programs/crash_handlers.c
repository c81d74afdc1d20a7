/* crash_handlers WAY: what programs do with their faults by their own handlers. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static int *volatile nowhere = (int *)16;

static void fault(void) { *nowhere = 1; }

static void on_fault_jump(int number) { siglongjmp(back, number); }

static void on_fault_leave(int number) { _exit(40 + number); }

static void on_fault_raise(int number) {
  signal(number, SIG_DFL);
  raise(number);
}

static void on_fault_abort(int number) {
  (void)number;
  abort();
}

static void on_fault_fault(int number) { *(volatile int *)(size_t)(number * 3) = 1; }

static void *page;

/* As virtual machines do it: the memory is made, and the instruction tried again. */
static void on_fault_map(int number, siginfo_t *info, void *context) {
  (void)context;
  if (info->si_addr != page) _exit(50 + number);
  mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void on_fault_skip(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)info;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; /* ud2 */
}

static void handle(int number, void (*handler)(int), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(number, &action, 0);
}

static void handle_with_info(int number, void (*handler)(int, siginfo_t *, void *)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  sigaction(number, &action, 0);
}

static int recover(void) {
  page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  handle_with_info(SIGSEGV, on_fault_map);
  handle_with_info(SIGILL, on_fault_skip);
  for (int i = 0; i < 1000; i++) {
    mprotect(page, 4096, PROT_NONE);
    *(volatile int *)page = i;
    __asm__ volatile("ud2");
  }
  handle(SIGSEGV, on_fault_jump, 0);
  for (volatile int i = 0; i < 1000; i++)
    if (sigsetjmp(back, 1) == 0) fault();
  return *(volatile int *)page == 999 ? 0 : 9;
}

static pthread_barrier_t barrier;

static void *fault_together(void *unused) {
  pthread_barrier_wait(&barrier);
  fault();
  return unused;
}

static void crash_together(int count) {
  pthread_t thread;
  pthread_barrier_init(&barrier, 0, (unsigned)count);
  for (int i = 0; i < count; i++) pthread_create(&thread, 0, fault_together, 0);
  pthread_join(thread, 0);
}

/* The program reads back what it set, and what it ignores stays ignored. */
static int ask(void) {
  struct sigaction found;
  handle(SIGSEGV, on_fault_leave, SA_RESTART | SA_NODEFER);
  sigaction(SIGSEGV, 0, &found);
  if (found.sa_handler != on_fault_leave || !(found.sa_flags & SA_NODEFER)) return 2;
  if (signal(SIGSEGV, SIG_DFL) != on_fault_leave) return 3;
  if (signal(SIGSEGV, SIG_IGN) != SIG_DFL) return 4;
  raise(SIGSEGV);
  kill(getpid(), SIGSEGV);
  return 0;
}

int main(int argc, char **argv) {
  const char *way = argc > 1 ? argv[1] : "";
  if (!strcmp(way, "recover")) return recover();
  if (!strcmp(way, "ask")) return ask();
  if (!strcmp(way, "together")) crash_together(8);
  if (!strcmp(way, "leave")) handle(SIGSEGV, on_fault_leave, 0);
  if (!strcmp(way, "raise")) handle(SIGSEGV, on_fault_raise, 0);
  if (!strcmp(way, "abort")) handle(SIGSEGV, on_fault_abort, 0);
  if (!strcmp(way, "fault")) handle(SIGSEGV, on_fault_fault, 0);
  if (!strcmp(way, "fault_again")) handle(SIGSEGV, on_fault_fault, SA_NODEFER);
  if (!strcmp(way, "once")) handle(SIGSEGV, (void (*)(int))(size_t)usleep, (int)SA_RESETHAND);
  if (!strcmp(way, "ignore")) signal(SIGSEGV, SIG_IGN);
  if (!strcmp(way, "child")) {
    pid_t child = fork();
    if (child) return waitpid(child, 0, 0) == child ? 0 : 9;
  }
  if (!strcmp(way, "vfork")) {
    pid_t child = vfork();
    if (child) return waitpid(child, 0, 0) == child ? 0 : 9;
  }
  if (!strcmp(way, "wait")) {
    puts("ready");
    fflush(stdout);
    pause();
  }
  fault();
  return 9;
}
