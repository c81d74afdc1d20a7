/* The agent's thread beside us: no descriptor number is taken, and it does not keep us alive. */
#include <fcntl.h>
#include <perimortem.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
static void *last(void *unused) {
  usleep(100000);
  puts("last thread"); /* not flushed: the exit handlers must do it, in a thread that can write */
  return unused; /* the process ends here: main has exited */
}
int main(void) {
  pthread_t thread;
  int stolen = 0;
  time_t end = time(0) + 3;
  perimortem_open();
  while (time(0) < end) {
    close(0);
    if (open("/dev/null", O_RDONLY) != 0) stolen++;
  }
  printf("stolen %d\n", stolen);
  fflush(stdout);
  pthread_create(&thread, 0, last, 0);
  pthread_detach(thread);
  pthread_exit(0);
}
