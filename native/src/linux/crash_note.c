#define _GNU_SOURCE
#include "crash_note.h"

#include <string.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

#include "../clock.h"
#include "caller.h"
#include "raw.h"

static uint64_t fill_registers(pmr_crash_note *note, const ucontext_t *context) {
  const mcontext_t *machine = &context->uc_mcontext;
#if defined(__x86_64__)
  const size_t general = sizeof machine->gregs, floating = 512;
  note->context_kind = PMR_CONTEXT_KIND_LINUX_X86_64;
  note->context_size = (uint32_t)general;
  memcpy(note->context, machine->gregs, general);
  if (machine->fpregs) { /* every floating point state of the kernel starts with the FXSAVE area */
    memcpy(note->context + general, machine->fpregs, floating);
    note->context_size += (uint32_t)floating;
  }
  note->stack_pointer = (uint64_t)machine->gregs[REG_RSP];
  return (uint64_t)machine->gregs[REG_RIP];
#elif defined(__aarch64__)
  /* regs[31], sp, pc and pstate are contiguous. */
  note->context_kind = PMR_CONTEXT_KIND_LINUX_AARCH64;
  note->context_size = 34 * 8;
  memcpy(note->context, machine->regs, 34 * 8);
  note->stack_pointer = machine->sp;
  return machine->pc;
#endif
}

uint64_t pmr_fault_stack_pointer(const pmr_fault *fault) {
  const ucontext_t *context = fault->context;
#if defined(__x86_64__)
  return (uint64_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
  return context->uc_mcontext.sp;
#endif
}

uint64_t pmr_fault_mask(const pmr_fault *fault) {
  const ucontext_t *context = fault->context;
  uint64_t mask;
  memcpy(&mask, &context->uc_sigmask, sizeof mask);
  return mask;
}

/* si_addr and the sender share their bytes: signal and code decide which is valid (sigaction(2)). */
static void fill_origin(pmr_crash_note *note, const pmr_fault *fault) {
  const siginfo_t *info = fault->info;
  if (info->si_code <= 0) {
    note->sender_pid = (uint32_t)info->si_pid;
    note->sender_uid = (uint32_t)info->si_uid;
  } else if (fault->number == SIGSYS) {
    note->address = (uint64_t)(uintptr_t)info->si_call_addr;
    note->parameter = (uint64_t)info->si_syscall;
  } else {
    note->address = (uint64_t)(uintptr_t)info->si_addr;
  }
}

static void fill_module(pmr_crash_note *note) {
  pmr_caller caller;
  pmr_find_caller((uintptr_t)note->program_counter, 1, &caller);
  note->caller = caller.kind;
  note->module_offset = caller.module_offset;
  strncpy(note->module, caller.module, sizeof note->module - 1);
}

void pmr_fill_crash(pmr_crash_note *note, const pmr_fault *fault) {
  memset(note, 0, sizeof *note);
  note->code = (uint32_t)fault->number;
  note->si_code = fault->info->si_code;
  note->tid = (uint32_t)PMR_RAW0(SYS_gettid);
  note->monotonic_ns = pmr_now_ns();
  fill_origin(note, fault);
  note->program_counter = fill_registers(note, fault->context);
  PMR_RAW5(SYS_prctl, PR_GET_NAME, note->thread_name, 0, 0, 0);
  fill_module(note);
}
