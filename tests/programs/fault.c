/* The faults of the crash matrix, one for each signal that the handler takes. Also a library, for Python. */
#define _GNU_SOURCE
#include "fault.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A call that a filter answers with SIGSYS; past every hook, as in a program's own sandbox. */
static void set_trap(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof code / sizeof *code, code};
  long result;
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  register const void *r10 __asm__("r10") = 0;
  __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_seccomp), "D"(SECCOMP_SET_MODE_FILTER), "S"(0),
                   "d"(&filter), "r"(r10) : "rcx", "r11", "memory");
  (void)result;
}

static volatile int *cut_mapping(void) {
  char path[] = "/tmp/fault-XXXXXX";
  int fd = mkstemp(path);
  unlink(path);
  if (ftruncate(fd, 4096)) return 0;
  volatile int *at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return ftruncate(fd, 0) ? 0 : at;
}

/* Prepared before a fault inside malloc, where nothing may be allocated any more. */
static volatile int *mapping;

void prepare_fault(int number) {
  if (number == SIGBUS) mapping = cut_mapping();
  if (number == SIGSYS) set_trap();
  printf("%d %p %p\n", (int)syscall(SYS_gettid), (void *)(size_t)fault, (void *)mapping);
  fflush(stdout);
}

__attribute__((noinline)) void fault(int number) {
  volatile int zero = 0;
  if (number == SIGSEGV) *(volatile int *)16 = 1;
  if (number == SIGBUS) *mapping = 1;
  if (number == SIGILL) __asm__ volatile("ud2");
  if (number == SIGFPE) zero = number / zero;
  if (number == SIGTRAP) __asm__ volatile("int3");
  if (number == SIGABRT) abort();
  if (number == SIGSYS) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_getpgid), "D"(0) : "rcx", "r11", "memory");
  }
}
