/* Ends itself past every handler, and past the agent. */
#include <perimortem.h>
#include <windows.h>

int wmain(void) {
  perimortem_open();
  perimortem_beat(perimortem_heartbeat("work", 1.0));
  TerminateProcess(GetCurrentProcess(), 3);
  return 0;
}
