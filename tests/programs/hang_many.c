/* hang_many COUNT THRESHOLD: hangs COUNT times, a little longer than the threshold each time. */
#include <perimortem.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 3;
  double threshold = argc > 2 ? atof(argv[2]) : 0.1;
  perimortem_open();
  int heartbeat = perimortem_heartbeat("main", threshold);
  perimortem_beat(heartbeat);
  usleep(50000);
  for (int i = 0; i < count; i++) {
    perimortem_beat(heartbeat);
    usleep((useconds_t)((threshold + 0.12) * 1e6));
    for (int j = 0; j < 32; j++) { /* long enough for the recovery to be seen */
      perimortem_beat(heartbeat);
      usleep(10000);
    }
  }
  return 0;
}
