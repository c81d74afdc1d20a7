// 2 GiB of memory, of which 64 pages and 5 MiB are written; then it crashes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(void) {
  size_t size = (size_t)2 << 30;
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return 1;
  memset(memory + (1 << 20), 7, 5 << 20);
  for (size_t i = 0; i < 64; i++) memory[i * (size / 64) + 12345] = 1;
  printf("%p\n", (void *)memory);
  fflush(stdout);
  abort();
}
