/* Small things that all parts do with files and the clock. */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A small file as text: its length, or -1. */
ssize_t read_file(const char *path, char *into, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  ssize_t length = fd < 0 ? -1 : read(fd, into, size - 1);
  if (fd >= 0) close(fd);
  into[length > 0 ? length : 0] = '\0';
  return length;
}

/* 1, or 0 with errno. */
int write_all(int fd, const void *data, size_t size) {
  const unsigned char *at = data;
  while (size > 0) {
    ssize_t written = write(fd, at, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return 0;
    at += written;
    size -= (size_t)written;
  }
  return 1;
}
