/* hang_many COUNT THRESHOLD [MORE]: hangs COUNT times, MORE (0.12) seconds longer than the threshold each
   time; in between it beats for three times as long. */
#include <perimortem.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 3;
  double threshold = argc > 2 ? atof(argv[2]) : 0.1;
  double more = argc > 3 ? atof(argv[3]) : 0.12;
  perimortem_open();
  int heartbeat = perimortem_heartbeat("main", threshold);
  perimortem_beat(heartbeat);
  usleep(50000);
  for (int i = 0; i < count; i++) {
    perimortem_beat(heartbeat);
    usleep((useconds_t)((threshold + more) * 1e6));
    for (int j = 0; j < more * 300; j++) { /* long enough for the recovery to be seen */
      perimortem_beat(heartbeat);
      usleep(10000);
    }
  }
  return 0;
}
