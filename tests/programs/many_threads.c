/* many_threads N: N threads that wait, each with a little on its stack and a name. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
int global_marker = 0x5EED;
static void *wait_here(void *number) {
  volatile char stack[2048];
  char name[16];
  snprintf(name, sizeof name, "waiter-%ld", (long)number);
  prctl(PR_SET_NAME, name, 0, 0, 0);
  stack[0] = 1;
  for (;;) pause();
}
int main(int argc, char **argv) {
  long count = argc > 1 ? atol(argv[1]) : 4;
  for (long i = 0; i < count; i++) {
    pthread_t thread;
    pthread_create(&thread, 0, wait_here, (void *)i);
  }
  usleep(20000);
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}
