/* Exits with the status that it is given, and carries the agent. */
#include <perimortem.h>
#include <stdlib.h>

int wmain(int count, wchar_t **arguments) {
  perimortem_open();
  perimortem_beat(perimortem_heartbeat("work", 1.0));
  return count > 1 ? (int)wcstoul(arguments[1], NULL, 0) : 0;
}
