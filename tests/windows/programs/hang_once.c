/* Beats, then hangs until it is ended. */
#include <perimortem.h>
#include <stdio.h>
#include <windows.h>

int wmain(void) {
  perimortem_open();
  int render = perimortem_heartbeat("render", 0.5);
  for (int i = 0; i < 10; i++) {
    perimortem_beat(render);
    Sleep(20);
  }
  perimortem_emit("render.stuck", "{\"frame\":10}");
  puts("hangs");
  fflush(stdout);
  Sleep(INFINITE);
  return 0;
}
