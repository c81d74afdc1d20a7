/* The main thread has left by pthread_exit; another one lives on. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *go_on(void *unused) {
  usleep(50000);
  puts("ready");
  fflush(stdout);
  for (;;) pause();
  return unused;
}
int main(void) {
  pthread_t thread;
  pthread_create(&thread, 0, go_on, 0);
  pthread_exit(0);
}
