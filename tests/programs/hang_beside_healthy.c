/* One heartbeat stops for a while; another beats all the time. 1.5 GB of memory make a dump long. */
#include <perimortem.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *stay_healthy(void *unused) {
  int heartbeat = perimortem_heartbeat("healthy", 0.6);
  for (;;) {
    perimortem_beat(heartbeat);
    usleep(10000);
  }
  return unused;
}
int main(void) {
  const size_t size = (size_t)1536 << 20;
  pthread_t thread;
  char *volatile memory = malloc(size);
  memset((char *)memory, 1, size);
  __asm__ volatile("" ::"r"(memory) : "memory"); /* else the compiler sees that nothing reads it */
  perimortem_open();
  int heartbeat = perimortem_heartbeat("hung", 0.3);
  perimortem_beat(heartbeat);
  pthread_create(&thread, 0, stay_healthy, 0);
  sleep(6);
  free((char *)memory); /* not at the exit, which would take longer than the thresholds */
  perimortem_beat(heartbeat);
  usleep(100000);
  return 0;
}
