/* Beats for a while, and exits with the status that it is given. */
#include <perimortem.h>
#include <stdlib.h>
#include <windows.h>

int wmain(int count, wchar_t **arguments) {
  perimortem_open();
  int work = perimortem_heartbeat("work", 1.0);
  for (int i = 0; i < 20; i++) {
    perimortem_beat(work);
    Sleep(10);
  }
  perimortem_emit("work.done", "{\"steps\":20}");
  return count > 1 ? (int)wcstoul(arguments[1], NULL, 0) : 0;
}
