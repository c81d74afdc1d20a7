/* hang_once THRESHOLD [SECONDS [MB]]: beats, hangs for SECONDS (0 or none: for ever), beats again,
   exits. It holds MB of touched memory, so that a full dump of it takes its time. */
#include <perimortem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  double threshold = argc > 1 ? atof(argv[1]) : 0.3;
  double seconds = argc > 2 ? atof(argv[2]) : 0;
  size_t bytes = argc > 3 ? (size_t)atol(argv[3]) << 20 : 0;
  char *held = bytes ? malloc(bytes) : NULL;
  if (held) memset(held, 0x5a, bytes);
  perimortem_open();
  int heartbeat = perimortem_heartbeat("main", threshold);
  for (int i = 0; i < 5; i++) {
    perimortem_beat(heartbeat);
    usleep(20000);
  }
  perimortem_emit("before.hang", "{\"step\":5}");
  puts("ready");
  fflush(stdout);
  if (seconds > 0)
    usleep((useconds_t)(seconds * 1e6));
  else
    for (;;) pause();
  for (int i = 0; i < 40; i++) {
    perimortem_beat(heartbeat);
    usleep(20000);
  }
  free(held);
  return 0;
}
