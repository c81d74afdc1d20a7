/* Says goodbye, and then does not exit. */
#include <perimortem.h>
#include <stdio.h>
#include <windows.h>

int wmain(void) {
  perimortem_open();
  perimortem_goodbye(0);
  puts("ready");
  fflush(stdout);
  Sleep(INFINITE);
  return 0;
}
