/* abort() in a program that carries the agent. */
#include <perimortem.h>
#include <stdlib.h>

int wmain(void) {
  perimortem_open();
  perimortem_beat(perimortem_heartbeat("work", 1.0));
  abort();
}
