/* A server that beats, says what it does, and one day is simply gone. */
#include <perimortem.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

void gpu_rt_submit(int frame);

static void *infer(void *unused) {
  (void)unused;
  prctl(PR_SET_NAME, "infer", 0, 0, 0);
  int heartbeat = perimortem_heartbeat("infer", 1.0);
  for (int frame = 0;; frame++) {
    char request[64];
    snprintf(request, sizeof request, "{\"model\":\"det-v4\",\"frame\":%d}", frame);
    perimortem_emit("infer.request", request);
    perimortem_beat(heartbeat);
    gpu_rt_submit(frame);
    usleep(50 * 1000);
  }
  return NULL;
}

int main(void) {
  pthread_t thread;
  perimortem_open();
  puts("server: serving");
  fflush(stdout);
  pthread_create(&thread, NULL, infer, NULL);
  pthread_join(thread, NULL);
  return 0;
}
