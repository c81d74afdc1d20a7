/* riddles KIND: ends in a way whose first impression is wrong. x86-64. */
#define _GNU_SOURCE
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
#define PAGE 4096

static volatile long sink;
static const long letters = 0x4141414141414141;

static KEEP void misaligned(void) {
  char *room = (char *)aligned_alloc(64, 256) + 4;
  __asm__ volatile("movaps (%0), %%xmm0" ::"r"(room) : "xmm0", "memory");
}
static KEEP void privileged(void) { __asm__ volatile("hlt"); }
static KEEP void interrupt(void) { __asm__ volatile("int $0x21"); }
static KEEP void breakpoint(void) { __asm__ volatile("int3\n\tmov %rax, %rax"); }
static KEEP void call_letters(void) { ((void (*volatile)(void))letters)(); sink++; }
static KEEP void damaged_frame(void) {
  __asm__ volatile("mov %0, %%rbp\n\tmov (%%rbp), %%rax" ::"r"(letters) : "rax");
}
static KEEP void damaged_stack(void) {
  __asm__ volatile("mov %0, %%rsp\n\tpush %%rax" ::"r"(letters));
}
static KEEP void return_to_nowhere(void) { __asm__ volatile("push %0\n\tret" ::"r"(0x123456789000)); }
static KEEP void return_to_letters(void) { __asm__ volatile("push %0\n\tret" ::"r"(letters)); }
static KEEP void large(long bytes) {
  volatile char *room = __builtin_alloca(bytes);
  room[0] = room[100] = 1;
  sink = room[50];
}
static KEEP void large_frame(void) { large(16 << 20); }
static KEEP void large_frame_and_call(void) {
  volatile char room[16 << 20];
  memset((void *)room, 1, sizeof room);
  sink = room[99];
}
static void *in_thread(void *function) {
  ((void (*)(void))function)();
  return NULL;
}
static KEEP void large_frame_in_thread(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, in_thread, (void *)large_frame);
  pthread_join(thread, NULL);
}
/* Into the guard of a small stack, from the buffer below it. */
static char *guard;
static KEEP void touch_guard(void) { sink = *(volatile char *)guard; }
static KEEP void overrun_to_guard(void) {
  size_t size = 64 << 10;
  char *room = mmap(NULL, 2 * size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  guard = room + size;
  mprotect(guard, PAGE, PROT_NONE);
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, guard + PAGE, size);
  pthread_create(&thread, &attributes, in_thread, (void *)touch_guard);
  pthread_join(thread, NULL);
}
static KEEP void float_overflow(void) {
  feenableexcept(FE_OVERFLOW);
  volatile double number = 1e300;
  number = number * number;
  sink = (long)number;
}
static KEEP void write_far(volatile char *base) { base[2000000] = 1; }
static KEEP void far_field(void) { write_far(NULL); }
/* The last element of an empty array. */
static KEEP void read_below(volatile long *end) { sink = end[-1]; }
static KEEP void below_null(void) { read_below(NULL); }
/* Up to the end of the stack, over all that the kernel and the loader have put there. */
static KEEP void overrun_stack(void) {
  char room[64];
  for (volatile char *at = room;; at++) *at = 1;
}
static KEEP void alignment_check(void) {
  char room[64] = {0};
  __asm__ volatile("pushfq\n\torl $0x40000, (%%rsp)\n\tpopfq\n\tmovl 1(%0), %%eax" ::"r"(room) : "rax", "memory");
}
static KEEP void single_step(void) {
  __asm__ volatile("pushfq\n\torl $0x100, (%rsp)\n\tpopfq\n\tnop\n\tnop");
}
static KEEP void leave_letters(void) {
  __asm__ volatile("mov %0, %%rbp\n\tleave\n\tret" ::"r"(letters));
}
static KEEP void misaligned_pair(void) {
  char *room = (char *)aligned_alloc(64, 256) + 8;
  __asm__ volatile("lock cmpxchg16b (%0)" ::"r"(room) : "rax", "rdx", "memory");
}
static KEEP void vector_from_null(void) { __asm__ volatile("movaps (%0), %%xmm0" ::"r"(4L) : "xmm0"); }
static pthread_t main_thread;
static void *aborts_main(void *unused) {
  usleep(100000);
  pthread_kill(main_thread, SIGABRT);
  return unused;
}
static KEEP void abort_from_thread(void) {
  pthread_t thread;
  main_thread = pthread_self();
  pthread_create(&thread, NULL, aborts_main, NULL);
  for (;;) sink++;
}
static KEEP void raise_abort(void) {
  raise(SIGABRT);
  sink++;
}
static KEEP void lose_return(void) { __asm__ volatile("push $0\n\tret"); }
static KEEP void return_to_null(void) {
  lose_return();
  sink++;
}
static KEEP void kernel_address(void) { sink = *(volatile char *)0xffff888000000000; }
static KEEP void fatal_error(const char *text) { abort(); }
static KEEP void own_fatal_error(void) { fatal_error("mine"); sink++; }
static KEEP void in_handler(int number) { *(volatile char *)0x20 = (char)number; }
static KEEP void fault_in_handler(void) {
  signal(SIGUSR1, in_handler);
  raise(SIGUSR1);
}
static KEEP void wait_for(int number) {
  pid_t own = getpid();
  if (!fork()) {
    usleep(100000);
    kill(own, number);
    _exit(0);
  }
  for (;;) pause();
}
static KEEP void abort_from_outside(void) { wait_for(SIGABRT); }
static KEEP void sys_from_outside(void) { wait_for(SIGSYS); }

#define KIND(name) {#name, name}
static const struct {
  const char *name;
  void (*function)(void);
} kinds[] = {
    KIND(misaligned),        KIND(privileged),        KIND(interrupt),
    KIND(breakpoint),        KIND(call_letters),      KIND(damaged_frame),
    KIND(damaged_stack),     KIND(return_to_nowhere), KIND(return_to_letters),
    KIND(large_frame),       KIND(large_frame_and_call), KIND(large_frame_in_thread),
    KIND(overrun_to_guard),  KIND(float_overflow),    KIND(far_field),
    KIND(below_null),        KIND(kernel_address),    KIND(own_fatal_error),   KIND(fault_in_handler),
    KIND(abort_from_outside), KIND(sys_from_outside),
    KIND(return_to_null),     KIND(overrun_stack),     KIND(alignment_check),
    KIND(single_step),        KIND(leave_letters),     KIND(misaligned_pair),
    KIND(vector_from_null),   KIND(abort_from_thread), KIND(raise_abort),
};

int main(int count, char **arguments) {
  for (unsigned i = 0; count > 1 && i < sizeof kinds / sizeof *kinds; i++)
    if (!strcmp(kinds[i].name, arguments[1])) kinds[i].function();
  return 9;
}
