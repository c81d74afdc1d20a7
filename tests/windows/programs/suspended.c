/* Suspends its only thread: nothing runs in it any more. */
#include <stdio.h>
#include <windows.h>

int wmain(void) {
  puts("ready");
  fflush(stdout);
  SuspendThread(GetCurrentThread());
  return 0;
}
