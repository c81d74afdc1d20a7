/* One system call in a stopped thread of another process, which recovers by itself if we die meanwhile.
 *
 * The thread gets the registers of a signal handler about to return: its instruction pointer at a stub
 *
 *     syscall                 the call that we want
 *     mov $15, %eax
 *     syscall                 rt_sigreturn
 *
 * and its stack pointer at a signal frame that holds its complete state. We stop it after the first call
 * and restore everything ourselves; if we are killed before that, the kernel lets it run on, and
 * rt_sigreturn restores everything. The child of a clone finds another frame on its stack, with the
 * registers of a call of exit_group: without us it ends. So at no moment does our death harm the target.
 * The order of the steps matters for that; the tests kill us between any two of them.
 *
 * Frame: struct rt_sigframe of arch/x86/include/asm/sigframe.h, struct sigcontext_64 and _fpx_sw_bytes of
 * asm/sigcontext.h. No allocation, no output, no waiting except for the thread.
 */
#define _GNU_SOURCE

#include "inject.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Tests die here (tests/programs/killed_in_injection.c). */
#ifndef PMR_INJECTION_STEP
#define PMR_INJECTION_STEP(number) ((void)(number))
#endif

#define STEP(number)            \
  do {                          \
    injection->step = (number); \
    PMR_INJECTION_STEP(number); \
  } while (0)

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif
#define GET_SYSCALL_USER_DISPATCH 0x4211
#define OPTION_SYSGOOD 1
#define OPTION_FORKS (2 | 4 | 8)
#define OPTION_EXITKILL (1 << 20)
#define OPTION_SUSPEND_SECCOMP (1 << 21)
#define EVENT_CLONE_FIRST 1 /* PTRACE_EVENT_FORK, _VFORK, _CLONE */
#define EVENT_CLONE_LAST 3
#define EVENT_STOP 128
#define SYSCALL_STOP (SIGTRAP | 0x80)
#define NOTE_SHADOW_STACK 0x204

#define CALL_EXIT_GROUP 231
#define CALL_CLOSE_RANGE 436
#define CLOSE_UNSHARED 2

#define USER_CODE_64 0x33
#define RED_ZONE 128
#define XSAVE_MAX (16 * 1024)
#define WAIT_S 20

static const uint8_t stub_code[PMR_STUB_BYTES] = {
    0x0f, 0x05, /* syscall */
    0xb8, 0x0f, 0x00, 0x00, 0x00, /* mov $15, %eax */
    0x0f, 0x05, /* syscall */
    0x0f, 0x0b, /* ud2 */
};

struct context {
  uint64_t flags, link;
  uint64_t alternate_stack;
  uint32_t alternate_flags, padding;
  uint64_t alternate_size;
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
      eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t error, trap, old_mask, cr2, floating_point, reserved[8];
  uint64_t mask;
};

enum { CONTEXT_XSTATE = 1, CONTEXT_SEGMENT_SS = 2, CONTEXT_STRICT_SS = 4 };
enum { SOFTWARE_BYTES_AT = 464, XFEATURES_AT = 512 };

struct software_bytes {
  uint32_t magic1, extended_size;
  uint64_t features;
  uint32_t size, padding[7];
};

#define MAGIC1 0x46505853u
#define MAGIC2 0x46505845u

_Static_assert(sizeof(struct context) == 304, "struct ucontext of x86-64");
_Static_assert(sizeof(struct software_bytes) == 48, "struct _fpx_sw_bytes");

static uint8_t frame[PMR_FRAME_BYTES_MAX], covered[PMR_FRAME_BYTES_MAX];
static uint8_t xsave[XSAVE_MAX];

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int read_registers(pid_t tid, struct user_regs_struct *registers) {
  struct iovec vector = {registers, sizeof *registers};
  return ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &vector) == 0 &&
         vector.iov_len == sizeof *registers;
}

static int write_registers(pid_t tid, struct user_regs_struct *registers) {
  struct iovec vector = {registers, sizeof *registers};
  return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &vector) == 0;
}

static int write_memory(int fd, uint64_t address, const void *data, size_t size) {
  return pwrite(fd, data, size, (off_t)address) == (ssize_t)size;
}

static int read_memory(int fd, uint64_t address, void *data, size_t size) {
  return pread(fd, data, size, (off_t)address) == (ssize_t)size;
}

/* Until the next stop; its wait status, or -1 if the thread is gone or too slow. */
static int await_stop(pid_t tid) {
  uint64_t deadline = now_ns() + WAIT_S * 1000000000ull;
  unsigned turns = 0;
  for (;;) {
    int status;
    pid_t got = waitpid(tid, &status, __WALL | WNOHANG);
    if (got == tid) return WIFSTOPPED(status) ? status : -1;
    if (got < 0 && errno != EINTR) return -1;
    if (now_ns() > deadline) return -1;
    if (++turns > 200) {
      struct timespec pause = {0, 50000};
      nanosleep(&pause, NULL);
    }
  }
}

/* Continue to the next stop at the entry or exit of a call. */
static int run_to_call(pid_t tid) {
  if (ptrace(PTRACE_SYSCALL, tid, NULL, NULL) != 0) return -1;
  return await_stop(tid);
}

/* Would the sequence be aborted when the thread returns? Then our stub must not intervene. */
static int is_in_restartable_sequence(pid_t tid, int memory_fd, uint64_t rip) {
  struct {
    uint64_t area;
    uint32_t size, signature, flags, padding;
  } configuration;
  struct {
    uint32_t version, flags;
    uint64_t start, length, abort;
  } sequence;
  uint64_t pointer;
  if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof configuration, &configuration) <= 0)
    return 0;
  if (configuration.area == 0 ||
      !read_memory(memory_fd, configuration.area + 8, &pointer, sizeof pointer))
    return 0;
  if (pointer == 0 || !read_memory(memory_fd, pointer, &sequence, sizeof sequence)) return 0;
  return rip - sequence.start < sequence.length;
}

static int has_shadow_stack(pid_t tid) {
  uint64_t pointer = 0;
  struct iovec vector = {&pointer, sizeof pointer};
  return ptrace(PTRACE_GETREGSET, tid, NOTE_SHADOW_STACK, &vector) == 0 && pointer != 0;
}

static int has_user_dispatch(pid_t tid) {
  struct {
    uint64_t mode, selector, offset, length;
  } configuration;
  return ptrace(GET_SYSCALL_USER_DISPATCH, tid, sizeof configuration, &configuration) == 0 &&
         configuration.mode != 0;
}

/* A call that the stop interrupted is restarted through the registers alone: rt_sigreturn does not do it
* (kernel: arch_do_signal_or_restart). */
static void restart_call(struct user_regs_struct *registers) {
  if ((int64_t)registers->orig_rax < 0) return;
  switch ((int64_t)registers->rax) {
    case -512:
    case -513:
    case -514: /* ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND */
      registers->rax = registers->orig_rax;
      registers->rip -= 2;
      break;
    case -516: /* ERESTART_RESTARTBLOCK, which rt_sigreturn drops */
      registers->rax = (uint64_t)-EINTR;
      break;
  }
}

static void fill_context(struct context *context, const struct user_regs_struct *registers,
                         uint64_t mask) {
  memset(context, 0, sizeof *context);
  context->flags = CONTEXT_SEGMENT_SS | CONTEXT_STRICT_SS;
  context->alternate_flags = 0x40; /* none of sigaltstack(2): the thread keeps its own */
  context->r8 = registers->r8, context->r9 = registers->r9;
  context->r10 = registers->r10, context->r11 = registers->r11;
  context->r12 = registers->r12, context->r13 = registers->r13;
  context->r14 = registers->r14, context->r15 = registers->r15;
  context->rdi = registers->rdi, context->rsi = registers->rsi;
  context->rbp = registers->rbp, context->rbx = registers->rbx;
  context->rdx = registers->rdx, context->rax = registers->rax;
  context->rcx = registers->rcx, context->rsp = registers->rsp;
  context->rip = registers->rip, context->eflags = registers->eflags;
  context->cs = (uint16_t)registers->cs, context->ss = (uint16_t)registers->ss;
  context->mask = mask;
}

/* The floating-point state in the layout of a signal frame; its size with the closing magic, 0 if none. */
static size_t fill_floating_point(pid_t tid, uint8_t *at, size_t room) {
  struct iovec vector = {xsave, sizeof xsave};
  if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &vector) != 0 || vector.iov_len < 576 ||
      vector.iov_len + 4 > room)
    return 0;
  struct software_bytes words = {MAGIC1, 0, 0, 0, {0}};
  uint32_t magic2 = MAGIC2;
  /* The kernel puts the enabled features there (user_xstateregs: xstate_fx_sw). */
  memcpy(&words.features, xsave + SOFTWARE_BYTES_AT, sizeof words.features);
  words.size = (uint32_t)vector.iov_len;
  words.extended_size = (uint32_t)vector.iov_len + 4;
  memcpy(at, xsave, vector.iov_len);
  memcpy(at + SOFTWARE_BYTES_AT, &words, sizeof words);
  memcpy(at + vector.iov_len, &magic2, sizeof magic2);
  return vector.iov_len + 4;
}

/* The child's descriptors are the target's own table, which it would keep alive beyond the target's end.
* It gets an empty table instead. Nothing is closed for the target. */
static void drop_descriptors(pid_t child, uint64_t stub) {
  struct user_regs_struct registers;
  if (!read_registers(child, &registers)) return;
  registers.rip = stub;
  registers.orig_rax = (uint64_t)-1;
  registers.rax = CALL_CLOSE_RANGE;
  registers.rdi = 0;
  registers.rsi = ~0u;
  registers.rdx = CLOSE_UNSHARED;
  if (!write_registers(child, &registers)) return;
  if (run_to_call(child) != -1) run_to_call(child);
}

static int adopt_child(struct pmr_injection *injection, long options) {
  pid_t child = injection->child;
  if (await_stop(child) == -1) return 0;
  ptrace(PTRACE_SETOPTIONS, child, NULL, (options & ~OPTION_FORKS) | OPTION_EXITKILL);
  return 1;
}

/* From the entry of the call to a stop after it, of the kind that restarts what was interrupted. */
static int run_call(struct pmr_injection *injection, uint64_t after) {
  pid_t tid = injection->tid;
  struct user_regs_struct registers;
  int status = run_to_call(tid);
  int is_inside = 0;
  for (;;) {
    if (status == -1) return PMR_INJECTION_GONE;
    int event = status >> 16;
    if (event >= EVENT_CLONE_FIRST && event <= EVENT_CLONE_LAST) {
      unsigned long child = 0;
      ptrace(PTRACE_GETEVENTMSG, tid, NULL, &child);
      injection->child = (int32_t)child;
      STEP(9);
    } else if (event == 0 && WSTOPSIG(status) == SYSCALL_STOP) {
      if (is_inside) break;
      is_inside = 1;
      STEP(8);
    } else if (event != EVENT_STOP) {
      return PMR_INJECTION_STOPS;
    }
    status = run_to_call(tid);
  }
  STEP(10);
  if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) != 0 || ptrace(PTRACE_CONT, tid, NULL, NULL) != 0)
    return PMR_INJECTION_GONE;
  status = await_stop(tid);
  if (status == -1 || !read_registers(tid, &registers)) return PMR_INJECTION_GONE;
  STEP(11);
  if (status >> 16 != EVENT_STOP || registers.rip != after) return PMR_INJECTION_STOPS;
  injection->result = (int64_t)registers.rax;
  return PMR_INJECTION_DONE;
}

int pmr_inject(struct pmr_injection *injection) {
  pid_t tid = injection->tid;
  int memory_fd = injection->memory_fd;
  struct user_regs_struct before, changed;
  uint64_t mask, all = ~0ull;
  uint8_t padding[PMR_STUB_BYTES];
  long options = OPTION_SYSGOOD | (injection->is_clone ? OPTION_FORKS : 0) |
                 (injection->has_seccomp ? OPTION_SUSPEND_SECCOMP : 0);

  injection->child = 0;
  injection->result = 0;
  STEP(1);
  if (!read_registers(tid, &before) || before.cs != USER_CODE_64) return PMR_INJECTION_NO_REGISTERS;
  if (ptrace(PTRACE_GETSIGMASK, tid, sizeof mask, &mask) != 0) return PMR_INJECTION_GONE;
  if (is_in_restartable_sequence(tid, memory_fd, before.rip)) return PMR_INJECTION_RSEQ;
  if (has_shadow_stack(tid)) return PMR_INJECTION_SHADOW_STACK;
  if (has_user_dispatch(tid)) return PMR_INJECTION_USER_DISPATCH;

  /* Two frames and the floating-point state, laid out upwards from a multiple of 64. */
  uint64_t top = before.rsp - RED_ZONE;
  uint64_t base = (top - PMR_FRAME_BYTES_MAX + 64) & ~63ull;
  struct context own, childs;
  struct user_regs_struct healed = before;
  restart_call(&healed);
  fill_context(&own, &healed, mask);
  memset(frame, 0, sizeof frame);
  const size_t own_at = 0, childs_at = 320, floating_at = 640;
  size_t floating_size =
      fill_floating_point(tid, frame + floating_at, (size_t)(top - base) - floating_at);
  if (floating_size == 0) return PMR_INJECTION_NO_REGISTERS;
  own.floating_point = base + floating_at;
  own.flags |= CONTEXT_XSTATE;
  struct user_regs_struct ending = before;
  ending.rip = injection->stub;
  ending.rax = CALL_EXIT_GROUP;
  ending.rdi = 0;
  ending.rsp = base + childs_at;
  fill_context(&childs, &ending, ~0ull);
  memcpy(frame + own_at, &own, sizeof own);
  memcpy(frame + childs_at, &childs, sizeof childs);
  size_t frame_size = floating_at + floating_size;

  STEP(2);
  if (!read_memory(memory_fd, base, covered, frame_size) ||
      !read_memory(memory_fd, injection->stub, padding, sizeof padding))
    return PMR_INJECTION_MEMORY;
  uint64_t since = now_ns();
  int error = PMR_INJECTION_MEMORY;
  if (!write_memory(memory_fd, injection->stub, stub_code, sizeof stub_code)) return error;
  STEP(3);
  if (!write_memory(memory_fd, base, frame, frame_size)) goto restore_memory;
  STEP(4);
  error = PMR_INJECTION_SECCOMP;
  if (ptrace(PTRACE_SETOPTIONS, tid, NULL, options) != 0) goto restore_memory;
  STEP(5);
  changed = before;
  changed.rip = injection->stub;
  changed.rsp = base + own_at;
  changed.rax = injection->call;
  changed.orig_rax = (uint64_t)-1;
  changed.rdi = injection->arguments[0];
  changed.rsi = injection->is_clone ? base + childs_at : injection->arguments[1];
  changed.rdx = injection->arguments[2];
  changed.r10 = injection->arguments[3];
  changed.r8 = injection->arguments[4];
  changed.r9 = injection->arguments[5];
  error = PMR_INJECTION_GONE;
  if (!write_registers(tid, &changed)) goto restore_memory;
  STEP(6);
  /* After the registers: if we were killed in between, the frame would restore the mask, too. */
  ptrace(PTRACE_SETSIGMASK, tid, sizeof all, &all);
  STEP(7);
  error = run_call(injection, injection->stub + 2);
  if (error == PMR_INJECTION_STOPS) return error; /* our exit releases it, and it recovers */
  ptrace(PTRACE_SETSIGMASK, tid, sizeof mask, &mask);
  STEP(12);
  write_registers(tid, &before);
  STEP(13);
restore_memory:
  write_memory(memory_fd, base, covered, frame_size);
  STEP(14);
  write_memory(memory_fd, injection->stub, padding, sizeof padding);
  ptrace(PTRACE_SETOPTIONS, tid, NULL, 0L);
  injection->window_ns = now_ns() - since;
  STEP(15);
  if (error != PMR_INJECTION_DONE) return error;
  if (injection->is_clone && injection->child > 0 && !adopt_child(injection, options))
    return PMR_INJECTION_GONE;
  STEP(16);
  if (injection->is_clone && injection->child > 0)
    drop_descriptors(injection->child, injection->stub);
  STEP(17);
  return injection->result < 0 ? PMR_INJECTION_CALL : PMR_INJECTION_DONE;
}
