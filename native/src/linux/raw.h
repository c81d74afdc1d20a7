/* System calls without the C library: no errno, no hook, no cancellation point, no lock. For the crash
* handler, which may interrupt any of these. A failure is a negative errno value. */
#ifndef PERIMORTEM_RAW_H
#define PERIMORTEM_RAW_H

#include <sys/syscall.h>

static inline long pmr_raw(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
#else
#error "this processor is not supported"
#endif
}

#define PMR_RAW0(number) pmr_raw((number), 0, 0, 0, 0, 0, 0)
#define PMR_RAW1(number, a) pmr_raw((number), (long)(a), 0, 0, 0, 0, 0)
#define PMR_RAW2(number, a, b) pmr_raw((number), (long)(a), (long)(b), 0, 0, 0, 0)
#define PMR_RAW3(number, a, b, c) pmr_raw((number), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define PMR_RAW4(number, a, b, c, d) \
  pmr_raw((number), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define PMR_RAW5(number, a, b, c, d, e) \
  pmr_raw((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

#endif
