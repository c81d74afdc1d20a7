/* hang_once THRESHOLD [SECONDS]: beats, hangs for SECONDS (for ever without), beats again, leaves. */
#include <perimortem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
  double threshold = argc > 1 ? atof(argv[1]) : 0.3;
  perimortem_open();
  int heartbeat = perimortem_heartbeat("main", threshold);
  for (int i = 0; i < 5; i++) {
    perimortem_beat(heartbeat);
    usleep(20000);
  }
  perimortem_emit("before.hang", "{\"step\":5}");
  puts("ready");
  fflush(stdout);
  if (argc > 2)
    usleep((useconds_t)(atof(argv[2]) * 1e6));
  else
    for (;;) pause();
  for (int i = 0; i < 40; i++) {
    perimortem_beat(heartbeat);
    usleep(20000);
  }
  return 0;
}
