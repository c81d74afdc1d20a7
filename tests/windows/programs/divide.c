/* Divides by zero. */
#include <stdlib.h>

int wmain(int count, wchar_t **arguments) {
  (void)arguments;
  volatile int zero = count - count;
  return 7 * count / zero;
}
