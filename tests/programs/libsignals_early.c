/* Its constructor waits for a thread that calls signal(): the loader is held all the while. */
#include <pthread.h>
#include <signal.h>

static void *ignore_pipe(void *unused) {
  signal(SIGPIPE, SIG_IGN);
  return unused;
}

__attribute__((constructor)) static void begin(void) {
  pthread_t thread;
  pthread_create(&thread, 0, ignore_pipe, 0);
  pthread_join(thread, 0);
}
