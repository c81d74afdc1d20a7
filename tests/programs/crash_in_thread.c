/* Another thread than main faults. */
#include <pthread.h>
#include <unistd.h>
static void *fault(void *address) {
  sleep(1); /* long enough to be seen by a sample per second */
  usleep(200000);
  *(volatile int *)address = 1;
  return 0;
}
int main(void) {
  pthread_t thread;
  pthread_create(&thread, 0, fault, (void *)16);
  pthread_join(thread, 0);
  return 0;
}
