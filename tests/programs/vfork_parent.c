/* Waits in vfork for a child that lives until the pipe on stdin closes: cannot be stopped. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *other(void *unused) {
  pause();
  return unused;
}
int main(void) {
  pthread_t thread;
  pthread_create(&thread, 0, other, 0);
  puts("ready");
  fflush(stdout);
  if (vfork() == 0) {
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
    _exit(0);
  }
  pause();
}
