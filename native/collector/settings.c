/* The files beside us, in a directory that only root can write:
 *   previous   the core_pattern before us
 *   run_dir    where the monitor listens
 *   chain      if it exists, the previous handler gets the core as well
 *   counts     what became of each crash (counts.c)
 *   slots      locked by helpers at work (slots.c)
 *
 * `perimortem system uninstall` may remove them while we work: nothing is opened there later. */
#include "helper.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char directory[512];

static int find_directory(void) {
  ssize_t length = readlink("/proc/self/exe", directory, sizeof directory - 1);
  char *slash = length > 0 ? strrchr(directory, '/') : NULL;
  if (!slash) return 0;
  *slash = '\0';
  return 1;
}

int open_beside(const char *name, int flags) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return open(path, flags | O_CLOEXEC | O_NOFOLLOW);
}

/* Its text without the line end; empty if it does not exist. */
static void read_beside(const char *name, char *into, size_t size) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  ssize_t length = read_file(path, into, size);
  while (length > 0 && into[length - 1] == '\n') into[--length] = '\0';
}

int read_settings(settings *into) {
  if (!find_directory()) return 0;
  read_beside("previous", into->previous, sizeof into->previous);
  read_beside("run_dir", into->run_dir, sizeof into->run_dir);
  int chain = open_beside("chain", O_RDONLY);
  into->chains = chain >= 0;
  if (chain >= 0) close(chain);
  return 1;
}
