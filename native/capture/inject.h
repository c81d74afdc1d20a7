/* One system call in a stopped thread of another process, which recovers by itself if we die meanwhile. */

#ifndef PERIMORTEM_INJECT_H
#define PERIMORTEM_INJECT_H

#include <stdint.h>

/* What prevented it; 0 is success. The messages are in Python (capture/linux/clone.py). */
enum pmr_injection_error {
  PMR_INJECTION_DONE = 0,
  PMR_INJECTION_GONE = 1, /* the thread went away */
  PMR_INJECTION_NO_REGISTERS = 2, /* or not those of 64-bit x86 */
  PMR_INJECTION_RSEQ = 3, /* inside a restartable sequence */
  PMR_INJECTION_SHADOW_STACK = 4,
  PMR_INJECTION_USER_DISPATCH =
      5, /* system calls of the thread are dispatched to its own handler */
  PMR_INJECTION_MEMORY = 6, /* stack or stub could not be written */
  PMR_INJECTION_SECCOMP = 7, /* filters that we are not allowed to suspend */
  PMR_INJECTION_STOPS = 8, /* unexpected stops */
  PMR_INJECTION_CALL = 9, /* the call itself failed: result is -errno */
};

struct pmr_injection {
  int32_t tid; /* stopped in PTRACE_EVENT_STOP */
  int32_t memory_fd; /* /proc/PID/mem, for reading and writing */
  uint64_t stub; /* STUB_BYTES of padding in an executable mapping (the vdso) */
  uint64_t call; /* number of the system call */
  uint64_t arguments[6];
  int32_t is_clone; /* the second argument becomes a stack on which the child ends at once */
  int32_t has_seccomp;
  /* Filled in: */
  int64_t result;
  int32_t child; /* of a clone: stopped, traced, killed when we exit */
  int32_t step; /* how far it got */
  uint64_t window_ns; /* how long the thread's registers were replaced */
};

#define PMR_STUB_BYTES 16
/* Below the stack pointer, in total. */
#define PMR_FRAME_BYTES_MAX (24 * 1024)

int pmr_inject(struct pmr_injection *injection);

#endif
