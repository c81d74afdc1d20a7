/* leader_exits: main exits by pthread_exit; when a line comes on stdin another thread ends by SIGSEGV. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void *go_on(void *unused) {
  char byte;
  usleep(50000);
  puts("ready");
  fflush(stdout);
  if (read(0, &byte, 1) == 1) raise(SIGSEGV);
  return unused;
}
int main(void) {
  pthread_t thread;
  pthread_create(&thread, 0, go_on, 0);
  pthread_exit(0);
}
