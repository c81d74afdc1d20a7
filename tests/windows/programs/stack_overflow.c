#pragma GCC diagnostic ignored "-Winfinite-recursion"
/* Calls itself for ever. */
static int deeper(int depth) {
  volatile char room[4096];
  room[0] = (char)depth;
  return deeper(depth + 1) + room[0];
}

int wmain(void) { return deeper(0); }
