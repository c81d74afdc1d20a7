#define _GNU_SOURCE
#include "signal_frame.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include "crash_handler.h"
#include "raw.h"

#if defined(__x86_64__)

/* struct rt_sigframe of the kernel: the handler's return address (the restorer, always the same),
* struct ucontext, siginfo. */
#define CONTEXT_AT 8u
#define CONTEXT_SIZE 304u
#define INFO_AT (CONTEXT_AT + CONTEXT_SIZE)
#define FRAME_SIZE (INFO_AT + (unsigned)sizeof(siginfo_t))
#define CHUNK 8192u
#define LOOKED_AT_MAX (1u << 20)

/* As in rt_sigaction(2); the C library does not return the restorer. */
struct kernel_action {
  void *handler;
  unsigned long flags;
  void *restorer;
  unsigned long mask;
};

static union {
  unsigned char bytes[CHUNK + FRAME_SIZE];
  uint64_t words[(CHUNK + FRAME_SIZE) / 8];
} window;
static siginfo_t found_info;
static ucontext_t found_context;

/* A frame of a handler that has returned may still be on the stack, in an unwritten buffer; but its signal
* is no longer blocked. */
static int is_fault_frame(const unsigned char *frame, uint64_t mask) {
  int number, code;
  uint64_t flags;
  memcpy(&flags, frame + CONTEXT_AT, sizeof flags);
  memcpy(&number, frame + INFO_AT, sizeof number);
  memcpy(&code, frame + INFO_AT + 8, sizeof code);
  if (flags >= 64 || !pmr_is_crash_signal(number) || code <= 0) return 0;
  return (mask >> (number - 1) & 1) || pmr_is_reentrant(number);
}

static void keep(const unsigned char *frame, pmr_fault *fault) {
  memset(&found_context, 0, sizeof found_context);
  memcpy(&found_context, frame + CONTEXT_AT, CONTEXT_SIZE);
  memcpy(&found_info, frame + INFO_AT, sizeof found_info);
  fault->number = found_info.si_signo;
  fault->info = &found_info;
  fault->context = &found_context;
}

/* Every action that was set through the C library has the same. */
static uint64_t find_restorer(void) {
  struct kernel_action action;
  for (int number = 1; number < 32; number++)
    if (PMR_RAW4(SYS_rt_sigaction, number, 0, &action, 8) == 0 && action.restorer)
      return (uint64_t)(uintptr_t)action.restorer;
  return 0;
}

#define PAGE_FAULT 14
#define IS_PROTECTION 1

/* A system call that sends an immediate signal ends right before the place where it arrives. */
static int is_after_system_call(uint64_t program_counter) {
  static const unsigned char instruction[2] = {0x0f, 0x05};
  unsigned char before[2] = {0, 0};
  long fd = PMR_RAW4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 1;
  PMR_RAW4(SYS_pread64, fd, before, sizeof before, program_counter - sizeof before);
  PMR_RAW1(SYS_close, fd);
  return memcmp(before, instruction, sizeof before) == 0;
}

int pmr_restore_late_fault(const pmr_fault *sent, pmr_fault *fault) {
  const ucontext_t *context = sent->context;
  const greg_t *registers = context->uc_mcontext.gregs;
  int is_memory = sent->number == SIGSEGV || sent->number == SIGBUS;
  if (!is_memory || registers[REG_TRAPNO] != PAGE_FAULT) return 0;
  if (is_after_system_call((uint64_t)registers[REG_RIP])) return 0;
  memset(&found_info, 0, sizeof found_info);
  found_info.si_signo = sent->number;
  found_info.si_addr = (void *)(uintptr_t)registers[REG_CR2];
  found_info.si_code = registers[REG_ERR] & IS_PROTECTION ? SEGV_ACCERR : SEGV_MAPERR;
  *fault = (pmr_fault){sent->number, &found_info, sent->context};
  return 1;
}

/* Read as a file: a stack may end anywhere, and an unmapped page is an error, not a fault. */
int pmr_find_signal_frame(uint64_t stack_pointer, uint64_t mask, pmr_fault *fault) {
  uint64_t restorer = find_restorer();
  int is_found = 0;
  if (!restorer) return 0;
  long fd = PMR_RAW4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  uint64_t at = stack_pointer & ~UINT64_C(7), end = at + LOOKED_AT_MAX;
  while (at < end) {
    long size = PMR_RAW4(SYS_pread64, fd, window.bytes, sizeof window.bytes, at);
    if (size < (long)FRAME_SIZE) break;
    uint64_t last = (uint64_t)size - FRAME_SIZE;
    for (uint64_t offset = 0; offset <= last; offset += 8)
      if (window.words[offset / 8] == restorer && is_fault_frame(window.bytes + offset, mask)) {
        keep(window.bytes + offset, fault);
        is_found = 1;
      }
    at += last + 8;
  }
  PMR_RAW1(SYS_close, fd);
  return is_found;
}

#else

/* On other machines a restorer does not identify frames: the last signal is the one reported. */
int pmr_find_signal_frame(uint64_t stack_pointer, uint64_t mask, pmr_fault *fault) {
  (void)stack_pointer;
  (void)mask;
  (void)fault;
  return 0;
}

int pmr_restore_late_fault(const pmr_fault *sent, pmr_fault *fault) {
  (void)sent;
  (void)fault;
  return 0;
}

#endif
