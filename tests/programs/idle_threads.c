/* idle_threads SECONDS: workers wait for a condition, main for the time: idle, and quite well. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static void *wait_for_work(void *unused) {
  pthread_mutex_lock(&mutex);
  for (;;) pthread_cond_wait(&work, &mutex);
  return unused;
}
int main(int argc, char **argv) {
  pthread_t thread;
  for (int i = 0; i < 3; i++) pthread_create(&thread, 0, wait_for_work, 0);
  sleep(argc > 1 ? (unsigned)atoi(argv[1]) : 1);
  return 0;
}
