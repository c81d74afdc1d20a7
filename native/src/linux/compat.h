/* Symbols bound to their oldest version, so that the library loads on glibc 2.17 and later.
 *
 * pthread_create, pthread_attr_setstacksize, dlsym, dladdr and the thread-specific keys got a new default
 * version in 2.34 (most moved into libc.so then); the old one is still offered. On an older glibc they
 * live in libpthread and libdl, which CMakeLists.txt therefore names as needed.
 * tests/system/test_agent.py checks the result. */
#ifndef PERIMORTEM_COMPAT_H
#define PERIMORTEM_COMPAT_H

#if defined(__GLIBC__) || defined(__gnu_linux__)
#if defined(__x86_64__)
#ifndef PMR_DEFINES_PTHREAD_CREATE
__asm__(".symver pthread_create,pthread_create@GLIBC_2.2.5");
#endif
__asm__(".symver pthread_attr_setstacksize,pthread_attr_setstacksize@GLIBC_2.2.5");
__asm__(".symver pthread_key_create,pthread_key_create@GLIBC_2.2.5");
__asm__(".symver pthread_setspecific,pthread_setspecific@GLIBC_2.2.5");
__asm__(".symver dlsym,dlsym@GLIBC_2.2.5");
__asm__(".symver dladdr,dladdr@GLIBC_2.2.5");
#elif defined(__aarch64__)
#ifndef PMR_DEFINES_PTHREAD_CREATE
__asm__(".symver pthread_create,pthread_create@GLIBC_2.17");
#endif
__asm__(".symver pthread_attr_setstacksize,pthread_attr_setstacksize@GLIBC_2.17");
__asm__(".symver pthread_key_create,pthread_key_create@GLIBC_2.17");
__asm__(".symver pthread_setspecific,pthread_setspecific@GLIBC_2.17");
__asm__(".symver dlsym,dlsym@GLIBC_2.17");
__asm__(".symver dladdr,dladdr@GLIBC_2.17");
#endif
#endif

#endif
