/* abort() of the old C runtime. */
#include <stdlib.h>

int wmain(void) { abort(); }
