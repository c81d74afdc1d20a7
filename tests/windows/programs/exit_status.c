/* Exits with the status that it is given. */
#include <stdlib.h>

int wmain(int count, wchar_t **arguments) {
  return count > 1 ? (int)wcstoul(arguments[1], NULL, 0) : 0;
}
