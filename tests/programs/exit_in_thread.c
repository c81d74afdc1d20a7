/* Another thread of the program's own code ends the process. */
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>
static void *leave(void *unused) {
  prctl(PR_SET_NAME, "quitter", 0, 0, 0);
  _exit(5);
  return unused;
}
int main(void) {
  pthread_t thread;
  pthread_create(&thread, 0, leave, 0);
  pthread_join(thread, 0);
  return 0;
}
