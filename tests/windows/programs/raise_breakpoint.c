/* A breakpoint with no debugger there. */
#include <windows.h>

int wmain(void) {
  DebugBreak();
  return 0;
}
