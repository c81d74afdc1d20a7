/* Stands in one of many kinds of stacks: stacks KIND. Prints "ready" and waits, or crashes. */
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))

static volatile int sink;

static KEEP void rest(void) {
  puts("ready");
  fflush(stdout);
  for (;;)
    pause();
}

static KEEP int deep(int depth) {
  if (depth == 0)
    rest();
  int below = deep(depth - 1);
  sink += below;
  return below + 1;
}

/* Two that call each other: what repeats is longer than one frame. */
static KEEP int odd(int depth);
static KEEP int even(int depth) {
  if (depth == 0)
    rest();
  int below = odd(depth - 1);
  sink += below;
  return below + 1;
}
static KEEP int odd(int depth) {
  int below = even(depth - 1);
  sink += below;
  return below + 2;
}

static KEEP int endless(volatile char *above) {
  volatile char here[64];
  here[0] = above[0];
  int below = endless(here);
  sink += below;
  return below + here[0];
}

static KEEP void on_signal(int number) {
  (void)number;
  rest();
}

static KEEP void interrupted(void) {
  raise(SIGUSR1);
  sink++;
}

static KEEP void struck(int *where) {
  *where = 1;
  sink++;
}

static int compare(const void *a, const void *b) {
  (void)a;
  (void)b;
  rest();
  return 0;
}

static KEEP void sized(int size) {
  char *room = alloca(size);
  memset(room, 1, size);
  sink += room[size - 1];
  rest();
  sink += room[0];
}

static KEEP void aligned(void) {
  _Alignas(256) volatile char room[512];
  room[0] = 1;
  rest();
  sink += room[0];
}

static KEEP void call(void (*function)(void)) {
  function();
  sink++;
}

static KEEP __attribute__((noreturn)) void never(void) {
  rest();
  abort();
}

static ucontext_t back, other;
static void coroutine(void) {
  deep(3);
}

static void *thread(void *argument) {
  (void)argument;
  for (;;)
    pause();
}

static void use_stack_of_its_own(void) {
  static char room[1 << 16];
  stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
  sigaltstack(&stack, NULL);
}

static void handle(int number, int flags) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
  sigaction(number, &action, NULL);
}

static char data_as_code[64] = {1};

int main(int count, char **arguments) {
  const char *kind = count > 1 ? arguments[1] : "rest";
  int number = count > 2 ? atoi(arguments[2]) : 0;
  if (!strcmp(kind, "rest"))
    rest();
  if (!strcmp(kind, "deep"))
    return deep(number);
  if (!strcmp(kind, "mutual"))
    return even(number);
  if (!strcmp(kind, "overflow"))
    return endless((char *)arguments[0]);
  if (!strcmp(kind, "signal")) {
    handle(SIGUSR1, 0);
    interrupted();
  }
  if (!strcmp(kind, "signal-altstack")) {
    use_stack_of_its_own();
    handle(SIGUSR1, SA_ONSTACK);
    interrupted();
  }
  if (!strcmp(kind, "fault")) {
    handle(SIGSEGV, 0);
    struck((int *)(intptr_t)number);
  }
  if (!strcmp(kind, "call-null-handled")) {
    handle(SIGSEGV, 0);
    call((void (*)(void))0);
  }
  if (!strcmp(kind, "callback")) {
    int two[2] = {2, 1};
    qsort(two, 2, sizeof *two, compare);
  }
  if (!strcmp(kind, "alloca"))
    sized(4096 + count);
  if (!strcmp(kind, "aligned"))
    aligned();
  if (!strcmp(kind, "noreturn"))
    never();
  if (!strcmp(kind, "coroutine")) {
    getcontext(&other);
    other.uc_stack.ss_sp = malloc(1 << 18);
    other.uc_stack.ss_size = 1 << 18;
    other.uc_link = &back;
    makecontext(&other, coroutine, 0);
    swapcontext(&back, &other);
  }
  if (!strcmp(kind, "threads")) {
    for (int i = 0; i < number; i++) {
      pthread_t created;
      pthread_create(&created, NULL, thread, NULL);
    }
    rest();
  }
  if (!strcmp(kind, "crash"))
    struck((int *)(intptr_t)number);
  if (!strcmp(kind, "abort"))
    abort();
  if (!strcmp(kind, "call-null"))
    call((void (*)(void))0);
  if (!strcmp(kind, "call-wild"))
    call((void (*)(void))0x7ead0000beefULL);
  if (!strcmp(kind, "call-data"))
    call((void (*)(void))(uintptr_t)data_as_code);
  return 2;
}
