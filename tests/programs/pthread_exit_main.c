/* pthread_exit_main [guarded]: the main thread has exited by pthread_exit; another one lives on.
 * guarded: with 64 MiB of memory, of which the first 8 are guard pages, which cannot be read. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static void *go_on(void *unused) {
  usleep(50000);
  puts("ready");
  fflush(stdout);
  for (;;) pause();
  return unused;
}
int main(int count, char **words) {
  pthread_t thread;
  if (count > 1) {
    char *memory = mmap(0, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 1, 64 << 20);
    if (madvise(memory, 8 << 20, 102 /* MADV_GUARD_INSTALL */) != 0) puts("no guard pages");
  }
  pthread_create(&thread, 0, go_on, 0);
  pthread_exit(0);
}
