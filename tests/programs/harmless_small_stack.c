/* Handles a fault on an alternate stack of 8 KiB, and calls _exit from the handler. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
static void leave(int number) {
  (void)number;
  _exit(42);
}
int main(void) {
  const size_t guard = 4 * 4096, size = 8192;
  char *memory = mmap(0, guard + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(memory, guard, PROT_NONE);
  stack_t stack = {.ss_sp = memory + guard, .ss_size = size};
  struct sigaction action = {.sa_handler = leave, .sa_flags = SA_ONSTACK};
  if (sigaltstack(&stack, 0) != 0) return 1;
  sigaction(SIGSEGV, &action, 0);
  *(volatile int *)16 = 1;
}
