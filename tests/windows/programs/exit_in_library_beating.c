/* A library ends it; the program itself beats. */
#include <perimortem.h>
#include <windows.h>

__declspec(dllimport) void start_inference(void);

int wmain(void) {
  perimortem_open();
  int frame = perimortem_heartbeat("render", 2.0);
  perimortem_beat(frame);
  perimortem_emit("frame.done", "{\"number\":7}");
  start_inference();
  Sleep(INFINITE);
  return 0;
}
