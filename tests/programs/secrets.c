/* secrets: words in .data, marked MADV_DONTDUMP with their page, others beside them; and its leader goes. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char hidden[8192] __attribute__((aligned(4096))) = "-";
static char shown[64] = "-";

static void *waiting(void *argument) {
  char *volatile pointers[8] = { hidden, hidden + 64, shown, 0 };
  (void)argument;
  puts("ready");
  fflush(stdout);
  for (;;) pause();
  return pointers[0];
}

int main(void) {
  pthread_t thread;
  const char *halves[] = { "SECRET", "OPEN", "-WORDS" };
  for (int i = 0; i < 512; i++) snprintf(hidden + 16 * i, 16, "%s%s", halves[0], halves[2]);
  snprintf(shown, sizeof shown, "%s%s", halves[1], halves[2]);
  if (madvise(hidden, sizeof hidden, MADV_DONTDUMP) != 0) return 2;
  /* No copy of a line may be left in the buffers and stacks of formatting. */
  pthread_create(&thread, 0, waiting, 0);
  pthread_exit(0);
}
