/* Hangs for three seconds, then goes on and exits well. */
#include <perimortem.h>
#include <windows.h>

int wmain(void) {
  perimortem_open();
  int render = perimortem_heartbeat("render", 0.3);
  perimortem_beat(render);
  Sleep(3000);
  for (int i = 0; i < 150; i++) {
    perimortem_beat(render);
    Sleep(20);
  }
  return 0;
}
