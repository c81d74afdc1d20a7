/* Ends itself past every handler. */
#include <windows.h>

int wmain(void) {
  TerminateProcess(GetCurrentProcess(), 3);
  return 0;
}
