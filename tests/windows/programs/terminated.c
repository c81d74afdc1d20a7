/* Beats until another process ends it. */
#include <perimortem.h>
#include <stdio.h>
#include <windows.h>

int wmain(void) {
  perimortem_open();
  int work = perimortem_heartbeat("work", 5.0);
  printf("ready %s\n", perimortem_recorder_path());
  fflush(stdout);
  for (;;) {
    perimortem_beat(work);
    Sleep(20);
  }
}
