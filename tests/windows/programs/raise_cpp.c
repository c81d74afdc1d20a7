/* What a throw of Microsoft's C++ is when nothing catches it. */
#include <windows.h>

int wmain(void) {
  RaiseException(0xE06D7363, EXCEPTION_NONCONTINUABLE, 0, NULL);
  return 0;
}
