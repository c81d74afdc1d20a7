/* beats NAME THRESHOLD: beats every 20 ms until it is ended. */
#include <perimortem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
  perimortem_open();
  int heartbeat = perimortem_heartbeat(argc > 1 ? argv[1] : "main", argc > 2 ? atof(argv[2]) : 1);
  perimortem_beat(heartbeat);
  perimortem_emit("started", "{\"by\":\"beats\"}");
  puts("ready");
  fflush(stdout);
  for (;;) {
    perimortem_beat(heartbeat);
    usleep(20000);
  }
}
