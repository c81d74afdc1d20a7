/* Emits events of every length from four threads as fast as it can, until it is killed. */
#include <perimortem.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
static void *write_events(void *number) {
  char json[400];
  for (unsigned long i = 0;; i++) {
    unsigned fill = (unsigned)(i * 7 % 300);
    int at = snprintf(json, sizeof json, "{\"thread\":%ld,\"i\":%lu,\"fill\":\"", (long)number, i);
    memset(json + at, 'a' + (int)(i % 26), fill);
    snprintf(json + at + fill, sizeof json - at - fill, "\",\"size\":%u}", fill);
    perimortem_emit("torn", json);
  }
  return 0;
}
int main(void) {
  pthread_t threads[4];
  perimortem_open();
  for (long i = 0; i < 4; i++) pthread_create(&threads[i], 0, write_events, (void *)i);
  puts(perimortem_recorder_path());
  fflush(stdout);
  pthread_join(threads[0], 0);
  return 0;
}
