/* pause_extend HOW: stays silent for a second, announced by pause, extend or retire (or not). */
#include <perimortem.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "none";
  perimortem_open();
  int heartbeat = perimortem_heartbeat("main", 0.2);
  perimortem_beat(heartbeat);
  if (!strcmp(how, "pause")) perimortem_pause(heartbeat);
  if (!strcmp(how, "extend")) perimortem_extend(heartbeat, 5);
  if (!strcmp(how, "retire")) perimortem_retire(heartbeat);
  usleep(1000000);
  perimortem_resume(heartbeat);
  perimortem_beat(heartbeat);
  return 0;
}
