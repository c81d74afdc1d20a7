/* The kernel's core helper: `|.../core-helper %P %s %c %d %t %u %g %p %e` in core_pattern.
 *
 * Started by the kernel, as root, for each process that dumps core, with the core on standard input; the
 * kernel holds the process until we exit. We copy the head of the core (registers, signal) into the run
 * directory, notify the monitor, and wait until it has its dump. Without a monitor, and with one that
 * does not answer, the core goes where it would have gone without us: to the handler, or into the file,
 * that core_pattern named before. */
#include "helper.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define WAIT_MS 10000 /* for the monitor and for a slot, in all */

char **given;

uid_t given_user(void) { return (uid_t)strtoul(given[USER], NULL, 10); }

int main(int count, char **arguments) {
  struct rlimit smallest = {1, 1}; /* the kernel's mark: our own core is not piped to us again */
  uint64_t deadline_ms = now_ms() + WAIT_MS;
  settings settings;
  if (count < ARGUMENTS) return 2;
  given = arguments;
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  setrlimit(RLIMIT_CORE, &smallest);
  if (!read_settings(&settings)) return 1;
  open_counts();
  open_slots();
  if (!take_work_slot()) {
    count_crash(&counts->refused, "no core: too many crashes at once");
    return 0;
  }
  int is_taken = notify_monitor(&settings, deadline_ms);
  if (is_taken) count_crash(&counts->monitor, NULL);
  if (is_taken && !settings.chains) return 0;
  if (settings.previous[0] == '|') run_handler(settings.previous + 1, deadline_ms);
  else if (!is_taken) write_core_file(settings.previous, deadline_ms);
  return 0;
}
