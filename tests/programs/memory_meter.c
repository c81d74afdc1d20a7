/* memory_meter MIB N [huge]: so much private memory, N waiting threads; the main thread obeys commands.
 *
 * A line on stdin: "p": print the longest gap between two samples at the clock since the last "p", in ms.
 * "w": write to every page once, print how long that took, in ms.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void *wait_here(void *unused) {
  for (;;) pause();
  return unused;
}

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

int main(int argc, char **argv) {
  size_t size = (argc > 1 ? (size_t)atol(argv[1]) : 64) << 20;
  long count = argc > 2 ? atol(argv[2]) : 0;
  int is_huge = argc > 3 && strcmp(argv[3], "huge") == 0;
  size_t huge_page = 2 << 20;
  char *raw = mmap(NULL, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  volatile char *memory = (char *)(((uintptr_t)raw + huge_page - 1) & ~(huge_page - 1));
  madvise((void *)memory, size, is_huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  uint64_t word = 88172645463325252u;
  for (size_t at = 0; at < size; at += 8) {
    word ^= word << 13, word ^= word >> 7, word ^= word << 17;
    *(volatile uint64_t *)(memory + at) = word; /* no two pages alike, none of them zero */
  }
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 * 1024);
  for (long i = 0; i < count; i++) {
    pthread_t thread;
    pthread_create(&thread, &small, wait_here, 0);
  }
  fcntl(0, F_SETFL, O_NONBLOCK);
  puts("ready");
  fflush(stdout);
  double longest = 0, before = now_ms();
  for (unsigned long turn = 0;; turn++) {
    double now = now_ms();
    if (now - before > longest) longest = now - before;
    before = now;
    if (turn % 1024 == 0) {
      char byte;
      if (read(0, &byte, 1) != 1) continue;
      if (byte == 'p') {
        printf("%.3f\n", longest);
      } else if (byte == 'w') {
        for (size_t at = 0; at < size; at += 4096) memory[at]++;
        printf("%.3f\n", now_ms() - now);
      } else {
        continue;
      }
      fflush(stdout);
      longest = byte == 'p' ? 0 : longest;
      before = now_ms();
    }
  }
}
