/* How many crashes are worked on at once.
 *
 * A slot is one byte of the file `slots`, locked while its helper lives: the kernel frees it no matter how
 * the helper ends. Each user has a part of the slots, root all of them: one user whose helpers never end
 * (a core file on a file system that does not answer) does not stop those of others. */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#define RETRY_MS 20

static int slots = -1;

void open_slots(void) { slots = open_beside("slots", O_RDWR); }

/* A lock that cannot be had for any other reason than that it is taken bounds nothing. */
static int lock_byte(off_t at) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
  return fcntl(slots, F_OFD_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES);
}

static int try_slots(off_t first, unsigned count, unsigned user_count) {
  uid_t user = given_user();
  unsigned tries = user == 0 ? count : user_count;
  for (unsigned i = 0; i < tries; i++)
    if (lock_byte(first + (user % count + i) % count)) return 1;
  return 0;
}

/* For each helper, at once or not at all. */
int take_work_slot(void) {
  return try_slots(0, PMR_WORK_SLOTS, PMR_WORK_SLOTS_OF_USER);
}

/* For a helper that passes its core on: this may take as long as a disk or a handler does. */
int take_write_slot(uint64_t deadline_ms) {
  while (!try_slots(PMR_WORK_SLOTS, PMR_WRITE_SLOTS, PMR_WRITE_SLOTS_OF_USER)) {
    if (now_ms() >= deadline_ms) return 0;
    poll(NULL, 0, RETRY_MS);
  }
  return 1;
}
