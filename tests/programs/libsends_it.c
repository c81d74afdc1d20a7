/* A library that ends the process from inside, one way or another. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *leave_from_thread(void *how) {
  if (!strcmp(how, "thread_exit")) exit(7);
  _exit(7);
}

void library_exits(const char *how) {
  if (!strcmp(how, "_exit")) _exit(7);
  if (!strcmp(how, "_exit0")) _exit(0);
  if (!strcmp(how, "exit")) exit(7);
  if (!strcmp(how, "_Exit")) _Exit(7);
  if (!strcmp(how, "quick_exit")) quick_exit(7);
  if (!strcmp(how, "abort")) abort();
  pthread_t thread;
  pthread_create(&thread, 0, leave_from_thread, (void *)how);
  pthread_join(thread, 0);
}

static int armed;
void library_arms_destructor(void) { armed = 1; }
__attribute__((destructor)) static void destroy(void) {
  if (armed) _exit(9);
}
