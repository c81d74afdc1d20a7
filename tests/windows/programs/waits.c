/* Says that it is ready, and waits to be ended. */
#include <stdio.h>
#include <windows.h>

int wmain(void) {
  puts("ready");
  fflush(stdout);
  Sleep(INFINITE);
  return 0;
}
