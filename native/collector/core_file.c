/* The core in a file, as the kernel would write it: in the directory of the process, with its rights,
 * within its limit. Special cases (setuid, another root or namespace) get none.
 *
 * Blocks of zeros become holes. The kernel skips what was never touched when it writes to a file itself;
 * through a pipe it must write zeros. The file has a name that marks it as partial until it is whole. */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BLOCK 4096u /* at most the block of any common file system: what is not allocated is not stored */
#define SPACE_CHECK_BYTES (4u << 20)
#define KEEP_FREE_MAX_BYTES (UINT64_C(1) << 30) /* as for dumps: docs/design.md */

typedef enum { WHOLE, LIMITED, CUT_OFF, FAILED } outcome;

/* Whether the process sees the same files as we do, and has the ids that it was started with. */
static int is_of_this_world(uid_t user, gid_t group) {
  static const char *const places[] = {"root", "ns/mnt", "ns/user"};
  char path[64], text[4096], line[64];
  struct stat theirs, own;
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    snprintf(path, sizeof path, "/proc/%.16s/%s", given[PID], places[i]);
    snprintf(line, sizeof line, "/proc/self/%s", places[i]);
    if (stat(path, &theirs) != 0 || stat(line, &own) != 0 || theirs.st_dev != own.st_dev ||
        theirs.st_ino != own.st_ino)
      return 0;
  }
  snprintf(path, sizeof path, "/proc/%.16s/status", given[PID]);
  if (read_file(path, text, sizeof text) <= 0) return 0;
  snprintf(line, sizeof line, "\nUid:\t%u\t%u\t%u\t%u\n", user, user, user, user);
  if (!strstr(text, line)) return 0;
  snprintf(line, sizeof line, "\nGid:\t%u\t%u\t%u\t%u\n", group, group, group, group);
  return strstr(text, line) != NULL;
}

/* From here on we have the rights of the process, and are in its directory: which root may not be able to
 * enter (NFS, FUSE), so it is only named before. */
static int become(uid_t user, gid_t group) {
  char place[64];
  snprintf(place, sizeof place, "/proc/%.16s/cwd", given[PID]);
  int folder = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return folder >= 0 && setgroups(0, NULL) == 0 && setresgid(group, group, group) == 0 &&
         setresuid(user, user, user) == 0 &&
         prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && /* setresuid may have changed it */
         fchdir(folder) == 0;
}

static int name_core_file(const char *pattern, char *into, size_t size) {
  char number[8];
  expand_pattern(pattern, into, size, 1);
  size_t length = strlen(into);
  read_file("/proc/sys/kernel/core_uses_pid", number, sizeof number);
  if (number[0] == '1' && !strstr(pattern, "%p"))
    length += (size_t)snprintf(into + length, size - length, ".%s", given[OWN_PID]);
  return length < size;
}

/* A file of another user, or one that others can open, is not replaced; nor is anything but a file. */
static int may_replace(const char *path, uid_t user) {
  struct stat facts;
  if (lstat(path, &facts) != 0) return errno == ENOENT;
  return S_ISREG(facts.st_mode) && facts.st_nlink == 1 && facts.st_uid == user &&
         (facts.st_mode & 0677) == 0600;
}

/* The same disk as the file, a name that no other helper has: the process of this pid waits for us. */
static int open_partial(const char *path, char *partial, size_t size) {
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%s", path);
  int length = snprintf(partial, size, "%s/core.%.16s.partial", dirname(folder), given[PID]);
  if (length < 0 || (size_t)length >= size) return -1;
  unlink(partial); /* of an earlier process with this pid, whose helper was killed */
  return open(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int has_room(int fd) {
  struct statvfs disk;
  if (fstatvfs(fd, &disk) != 0) return 1;
  uint64_t keep_free = (uint64_t)disk.f_blocks * disk.f_frsize / 20;
  if (keep_free > KEEP_FREE_MAX_BYTES) keep_free = KEEP_FREE_MAX_BYTES;
  return (uint64_t)disk.f_bavail * disk.f_frsize >= keep_free;
}

/* Almost every block with data is decided by its first bytes. */
static int is_zero(const unsigned char *data, size_t size) {
  return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* The bytes at ``data``, up to ``size``, that are all a hole or all data. */
static size_t measure_run(const unsigned char *data, size_t size, int *is_hole) {
  size_t run = 0;
  do {
    size_t block = size - run < BLOCK ? size - run : BLOCK;
    int is_empty = is_zero(data + run, block);
    if (run == 0) *is_hole = is_empty;
    if (is_empty != *is_hole) break;
    run += block;
  } while (run < size);
  return run;
}

/* As in the kernel the limit is on what is written; holes are free. */
static outcome copy_core(int fd, uint64_t limit, uint64_t end) {
  static unsigned char buffer[1 << 18] __attribute__((aligned(64)));
  uint64_t at = 0, unchecked = SPACE_CHECK_BYTES;
  size_t got, run;
  while ((got = read_core(buffer, sizeof buffer)) > 0) {
    for (size_t done = 0; done < got; done += run) {
      int is_hole;
      run = measure_run(buffer + done, got - done, &is_hole);
      if (!is_hole) {
        size_t part = run < limit ? run : (size_t)limit;
        if (unchecked >= SPACE_CHECK_BYTES && !has_room(fd)) return FAILED;
        unchecked = unchecked >= SPACE_CHECK_BYTES ? part : unchecked + part;
        if (lseek(fd, (off_t)at, SEEK_SET) < 0 || !write_all(fd, buffer + done, part))
          return FAILED;
        limit -= part;
        if (part < run) return ftruncate(fd, (off_t)(at + part)) == 0 ? LIMITED : FAILED;
      }
      at += run;
    }
  }
  if (ftruncate(fd, (off_t)at) != 0) return FAILED;
  return at < end ? CUT_OFF : WHOLE;
}

static void save_core(const char *path, uid_t user, uint64_t limit) {
  char partial[PATH_MAX + 32];
  int fd = may_replace(path, user) ? open_partial(path, partial, sizeof partial) : -1;
  if (fd < 0) {
    count_crash(&counts->not_written, "no core: its file cannot be made");
    return;
  }
  uint64_t end = read_head(UINT64_MAX) ? find_core_end() : 0;
  outcome outcome = copy_core(fd, limit, end);
  /* Some file systems report only here that they had no room. */
  if (close(fd) != 0) outcome = FAILED;
  if (outcome == CUT_OFF) {
    count_crash(&counts->cut_off, "the core is cut off, and kept as core.PID.partial");
  } else if (outcome != FAILED && may_replace(path, user) && rename(partial, path) == 0) {
    count_crash(&counts->core_file, NULL);
  } else {
    unlink(partial);
    count_crash(&counts->not_written, "no core: no room on the disk, or a write error");
  }
}

void write_core_file(const char *pattern, uint64_t deadline_ms) {
  char path[PATH_MAX];
  uint64_t limit = strtoull(given[LIMIT], NULL, 10);
  gid_t group = (gid_t)strtoul(given[GROUP], NULL, 10);
  uid_t user = given_user();
  if (limit == 0 || pattern[0] == '\0' || pattern[0] == '@' || strcmp(given[MODE], "1") != 0 ||
      !is_of_this_world(user, group) || !name_core_file(pattern, path, sizeof path)) {
    count_crash(&counts->unwanted, NULL);
  } else if (!take_write_slot(deadline_ms)) {
    count_crash(&counts->refused, "no core: too many are written at once");
  } else if (become(user, group)) {
    save_core(path, user, limit);
  } else {
    count_crash(&counts->not_written, "no core: its directory cannot be entered");
  }
}
