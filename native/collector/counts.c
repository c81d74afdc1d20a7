/* What became of each crash, in a file that outlives us and the monitor.
 *
 * It is mapped: counting needs no lock and waits for no disk. Each count is on the disk when the system
 * has written it back; a power cut may lose the last ones. */
#include "helper.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static pmr_collector_counts uncounted; /* where the file is missing */
pmr_collector_counts *counts = &uncounted;
static int kernel_log = -1;

void open_counts(void) {
  struct stat facts;
  int fd = open_beside("counts", O_RDWR);
  /* A page beyond the end of the file would be SIGBUS. */
  if (fd >= 0 && fstat(fd, &facts) == 0 && facts.st_size >= (off_t)sizeof *counts) {
    pmr_collector_counts *file =
      mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (file != MAP_FAILED &&
        memcmp(file->magic, PMR_COUNTS_MAGIC, sizeof file->magic) == 0)
      counts = file;
  }
  if (fd >= 0) close(fd);
  /* Opened now: later we may have the rights of the process only. */
  kernel_log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NONBLOCK);
}

/* To the kernel's log, where the kernel itself reports cores that it could not write. */
static void log_crash(const char *what, uint64_t count) {
  char line[256], name[32];
  snprintf(name, sizeof name, "%s", given[NAME]);
  for (char *at = name; *at; at++)
    if (*at < ' ' || *at > '~') *at = '?';
  int length = snprintf(line, sizeof line, "<4>perimortem: %.16s(%s): %s (number %llu)\n", given[PID],
                        name, what, (unsigned long long)count);
  if (length > 0 && length < (int)sizeof line && write(kernel_log, line, (size_t)length) < 0)
    return; /* it is a note only */
}

/* ``what``: a line for the kernel's log, or NULL. The 1st, 2nd, 4th, 8th ... is logged: a storm of
 * crashes must not become one of lines. */
void count_crash(uint64_t *counter, const char *what) {
  uint64_t count = __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
  if (what && (count & (count - 1)) == 0) log_crash(what, count);
}
