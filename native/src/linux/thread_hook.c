/* Hook of pthread_create: each new thread starts with its own signal stack, since a stack overflow
* in a thread without one never reaches a handler. Threads created otherwise (raw clone, thrd_create) and
* those that existed before us go without. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>

#define PMR_DEFINES_PTHREAD_CREATE
#include "../crash.h"
#include "alternate_stack.h"
#include "compat.h"
#include "perimortem.h"

typedef int (*create_function)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* At the bottom of the signal stack until the thread has taken it. */
typedef struct beginning {
  void *(*routine)(void *);
  void *argument;
} beginning;

static beginning *beginning_of(void *mapping) {
  return (beginning *)(void *)((char *)mapping + 4096);
}

static void *begin(void *mapping) {
  beginning taken = *beginning_of(mapping);
  pmr_use_alternate_stack(mapping);
  return taken.routine(taken.argument);
}

PERIMORTEM_API int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                  void *(*routine)(void *), void *argument) {
  static create_function real;
  if (!real) real = (create_function)(uintptr_t)dlsym(RTLD_NEXT, "pthread_create");
  if (!real) return EAGAIN;
  void *mapping = pmr_has_crash_handler() ? pmr_make_alternate_stack() : NULL;
  if (!mapping) return real(thread, attributes, routine, argument);
  *beginning_of(mapping) = (beginning){routine, argument};
  int error = real(thread, attributes, begin, mapping);
  if (error) pmr_free_alternate_stack(mapping);
  return error;
}
