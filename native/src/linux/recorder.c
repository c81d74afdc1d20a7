/* Create, size and map the recorder file of this process. */
#define _GNU_SOURCE
#include "../recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../lock.h"
#include "perimortem.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18 /* Linux 4.14 */
#endif

static pmr_live no_recorder;
_Atomic(pmr_live *) pmr_current = &no_recorder;

static pmr_lock open_lock = PMR_UNLOCKED;
static char recorder_path[512], recorder_directory[400];

/* The mapping of this process, or, in a forked child, that of its parent. */
static unsigned char *mapped_base;
static uint64_t mapped_size;

/* Read a small /proc file completely; the length, or -1. */
static ssize_t read_small(const char *path, char *buffer, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t length = read(fd, buffer, size - 1);
  close(fd);
  if (length >= 0) buffer[length] = '\0';
  return length;
}

/* Field 22 of /proc/self/stat; the command name before it may hold spaces and brackets. */
static uint64_t read_start_time_ticks(void) {
  char text[1024];
  if (read_small("/proc/self/stat", text, sizeof text) <= 0) return 0;
  /* /proc may belong to another pid namespace, in which we have another pid. */
  if (strtol(text, NULL, 10) != getpid()) return 0;
  char *at = strrchr(text, ')');
  if (!at) return 0;
  for (int field = 2; field < 22; field++) {
    at = strchr(at + 1, ' ');
    if (!at) return 0;
  }
  return strtoull(at, NULL, 10);
}

/* Read once: a forked child inherits it. */
static void read_boot_id(char into[16]) {
  static char boot_id[16];
  static int is_read;
  char text[64];
  if (is_read) {
    memcpy(into, boot_id, 16);
    return;
  }
  is_read = 1;
  if (read_small("/proc/sys/kernel/random/boot_id", text, sizeof text) < 36) return;
  int nibbles = 0;
  for (const char *c = text; *c && nibbles < 32; c++) {
    int value = *c >= '0' && *c <= '9' ? *c - '0' : *c >= 'a' && *c <= 'f' ? *c - 'a' + 10 : -1;
    if (value < 0) continue;
    boot_id[nibbles / 2] = (char)((unsigned char)boot_id[nibbles / 2] << 4 | value);
    nibbles++;
  }
  memcpy(into, boot_id, 16);
}

static int find_directory(char *path, size_t size) {
  const char *given = secure_getenv("PERIMORTEM_RUN_DIR");
  const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
  int length;
  if (given && given[0] == '/')
    length = snprintf(path, size, "%s", given);
  else if (runtime && runtime[0] == '/')
    length = snprintf(path, size, "%s/perimortem", runtime);
  else if (geteuid() == 0)
    length = snprintf(path, size, "/run/perimortem");
  else
    length = snprintf(path, size, "/tmp/perimortem-%u", (unsigned)geteuid());
  return length > 0 && (size_t)length < size ? 0 : ENAMETOOLONG;
}

/* The directory must be writable by us only: anything else could be swapped under us. A forked child, which
* may be in a chroot by now, uses the very same one as its parent, and creates none. */
static int open_directory(const char *path, int *directory_fd) {
  static dev_t known_device;
  static ino_t known_inode;
  struct stat facts;
  if (!known_inode && mkdir(path, 0700) != 0 && errno != EEXIST) return errno;
  int fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno;
  /* By number: glibc offers fstat as a symbol only since 2.33. */
  if (syscall(SYS_fstat, fd, &facts) != 0 || facts.st_uid != geteuid() ||
      (facts.st_mode & (S_IWGRP | S_IWOTH)) ||
      (known_inode && (facts.st_dev != known_device || facts.st_ino != known_inode))) {
    close(fd);
    return EPERM;
  }
  known_device = facts.st_dev;
  known_inode = facts.st_ino;
  *directory_fd = fd;
  return 0;
}

static uint32_t choose_slot_count(uint32_t flags) {
  /* A small recorder: a worker emits little, and its parent may fork thousands. */
  if (flags & PMR_HEADER_FLAG_FORKED) return PMR_EVENT_SLOT_COUNT_FORKED;
  const char *given = getenv("PERIMORTEM_EVENT_SLOTS");
  unsigned long count = given ? strtoul(given, NULL, 10) : 0;
  if (count < 8 || count > PMR_EVENT_SLOT_COUNT_MAX) return PMR_EVENT_SLOT_COUNT_DEFAULT;
  return (uint32_t)count;
}

/* Whose tree this process belongs to; kept for children that clear their environment. */
static uint32_t monitor_pid;

/* Its socket. It removes that when its watch ends, and leaves it when it is killed. */
static char monitor_socket[128];

static int is_gone(int monitor) { return kill((pid_t)monitor, 0) != 0 && errno == ESRCH; }

static int was_killed(int monitor) {
  const char *socket = monitor_socket[0] ? monitor_socket : getenv("PERIMORTEM_SOCKET");
  return is_gone(monitor) && socket && socket[0] == '/' && access(socket, F_OK) == 0;
}

int pmr_is_awaited(int monitor) { return !is_gone(monitor) || was_killed(monitor); }

/* There may be thousands of such processes, and no monitor for days. */
void pmr_forget_good_end(void) {
  int saved_errno = errno;
  if (monitor_pid && pmr_base() && was_killed((int)monitor_pid)) unlink(recorder_path);
  errno = saved_errno;
}

/* The pid namespace in which the monitor lives; in another one our pid means nothing to it. */
static char monitor_namespace[64];

static int is_in_monitors_namespace(void) {
  char name[64];
  if (!monitor_namespace[0]) return 1;
  ssize_t length = readlink("/proc/self/ns/pid", name, sizeof name - 1);
  if (length < 0) return 0;
  name[length] = '\0';
  return strcmp(name, monitor_namespace) == 0;
}

static pmr_identity identify(uint64_t start_ticks, uint32_t flags) {
  pmr_identity identity;
  struct timespec wall;
  char name[16] = {0};
  memset(&identity, 0, sizeof identity);
  identity.pid = (uint32_t)getpid();
  identity.parent_pid = (uint32_t)getppid();
  identity.monitor_pid = monitor_pid;
  identity.flags = flags;
  identity.start_time_ticks = start_ticks;
  clock_gettime(CLOCK_REALTIME, &wall);
  identity.realtime_ns = (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec;
  read_boot_id(identity.boot_id);
  prctl(PR_GET_NAME, name, 0, 0, 0);
  pmr_copy_name(identity.name, sizeof identity.name, name);
  return identity;
}

/* Reserve every block now: a store into a hole of a full tmpfs would be a SIGBUS. A process under a
 * file-size limit gets no recorder, since the reservation itself would be a SIGXFSZ. */
static int reserve(int fd, uint64_t size) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      limit.rlim_cur < size)
    return EFBIG;
  return posix_fallocate(fd, 0, (off_t)size);
}

static int map_file(int directory_fd, uint64_t size, const char *name, unsigned char **base) {
  int error;
  unlinkat(directory_fd, name, 0);
  int fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return errno;
  error = reserve(fd, size);
  if (error == 0) {
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
      error = errno;
    else
      *base = mapped;
  }
  close(fd);
  if (error) unlinkat(directory_fd, name, 0);
  return error;
}

static void forget_parent_recorder(void) {
  pmr_live *live = pmr_get_live();
  if (live != &no_recorder) live->base = NULL;
}

static pmr_live *make_live_page(void) {
  void *page = mmap(NULL, PMR_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return NULL;
  if (madvise(page, PMR_PAGE_SIZE, MADV_WIPEONFORK) != 0)
    pthread_atfork(NULL, NULL, forget_parent_recorder);
  return page;
}

static int create_in(int directory_fd, uint32_t flags) {
  uint32_t slots = choose_slot_count(flags);
  uint64_t size = pmr_file_size(slots);
  uint64_t ticks = read_start_time_ticks();
  unsigned char *base = NULL;
  char building[80], name[64];
  if (ticks == 0) return ENOENT; /* no /proc: a later process with our pid could not be distinguished */

  snprintf(name, sizeof name, "%u-%llu.rec", (unsigned)getpid(), (unsigned long long)ticks);
  snprintf(building, sizeof building, ".%s.new", name);
  if (faccessat(directory_fd, name, F_OK, 0) == 0) flags |= PMR_HEADER_FLAG_EXECED;
  int error = map_file(directory_fd, size, building, &base);
  if (error) return error;
  pmr_live *live = pmr_get_live();
  if (live == &no_recorder) live = make_live_page(); /* else: wiped by a fork */
  if (!live) {
    munmap(base, size);
    unlinkat(directory_fd, building, 0);
    return ENOMEM;
  }
  pmr_identity identity = identify(ticks, flags);
  pmr_fill_header(base, slots, &identity);
  /* After exec in the same pid a file of that name exists: replaced, never truncated. */
  if (renameat(directory_fd, building, directory_fd, name) != 0) {
    error = errno;
    munmap(base, size);
    if (live != pmr_get_live()) munmap(live, PMR_PAGE_SIZE);
    unlinkat(directory_fd, building, 0);
    return error;
  }
  snprintf(recorder_path, sizeof recorder_path, "%s/%s", recorder_directory, name);
  mapped_base = base;
  mapped_size = size;
  live->slot_count = slots;
  live->base = base;
  atomic_store_explicit(&pmr_current, live, memory_order_release);
  return 0;
}

int pmr_create(uint32_t flags) {
  int directory_fd = -1;
  int error = 0;
  if (!is_in_monitors_namespace()) return EXDEV;
  if (!recorder_directory[0]) error = find_directory(recorder_directory, sizeof recorder_directory);
  if (!error) error = open_directory(recorder_directory, &directory_fd);
  if (error) return error;
  error = create_in(directory_fd, flags);
  close(directory_fd);
  return error;
}

static void say_goodbye_at_exit(void) {
  unsigned char *base = pmr_base();
  if (!base) return;
  /* exit() called by a library or from another thread is not the program's own goodbye. */
  pmr_exit_note *note = (pmr_exit_note *)(void *)(base + PMR_EXIT_NOTE_OFFSET);
  pmr_word *state = (pmr_word *)(void *)&note->state;
  int status = -1;
  if (atomic_load_explicit(state, memory_order_acquire) == PMR_EXIT_NOTE_WRITTEN) {
    if (note->caller != PMR_EXIT_CALLER_VIRTUAL_MACHINE &&
        (note->caller == PMR_EXIT_CALLER_LIBRARY || !note->is_main_thread))
      return;
    status = note->status;
  }
  perimortem_goodbye(status);
  pmr_forget_good_end();
}

/* A forked child has the parent's mapping, which it must not write, and locks whose holders do not
* exist. It gets a recorder here and no thread: creating one in a child is safe only if no thread of the
* parent was in the middle of anything. */
static uint32_t flags_of_children;
static _Atomic int is_opened, has_sampler;

static void begin_child(void) {
  int saved_errno = errno;
  open_lock = (pmr_lock)PMR_UNLOCKED;
  pmr_forget_registrations();
  atomic_store(&has_sampler, 0);
  if (mapped_base && !pmr_base()) {
    munmap(mapped_base, mapped_size);
    mapped_base = NULL;
    /* A daemon may outlive the watch: then these files would never be removed. */
    if (monitor_pid && !pmr_is_awaited((int)monitor_pid)) flags_of_children = 0;
    if (flags_of_children) pmr_create(flags_of_children);
  }
  errno = saved_errno;
}

int pmr_open(uint32_t flags) {
  int saved_errno = errno;
  int error = 0;
  pmr_acquire(&open_lock);
  if (!pmr_base()) {
    const char *monitor = getenv("PERIMORTEM_MONITOR_PID");
    const char *namespace = getenv("PERIMORTEM_PID_NAMESPACE");
    monitor_pid = monitor ? (uint32_t)strtoul(monitor, NULL, 10) : 0;
    pmr_copy_name(monitor_namespace, sizeof monitor_namespace, namespace);
    const char *socket = getenv("PERIMORTEM_SOCKET");
    if (socket && strlen(socket) < sizeof monitor_socket) strcpy(monitor_socket, socket);
    error = pmr_create(flags & ~PMR_FOLLOW);
    if (flags & PMR_FOLLOW) flags_of_children = (flags & ~PMR_FOLLOW) | PMR_HEADER_FLAG_FORKED;
    if (!error && !atomic_exchange(&is_opened, 1)) {
      atexit(say_goodbye_at_exit);
      pthread_atfork(NULL, NULL, begin_child);
    }
  }
  pmr_release(&open_lock);
  errno = saved_errno;
  return error;
}

void pmr_stop_following(void) {
  flags_of_children = 0;
  monitor_pid = 0;
}

int perimortem_open(void) {
  int error = pmr_open(PMR_FOLLOW);
  if (error || !pmr_base()) return error;
  int saved_errno = errno;
  /* Without the thread the program's own beats still count. */
  if (!atomic_exchange(&has_sampler, 1)) pmr_start_sampler();
  errno = saved_errno;
  return 0;
}

const char *pmr_directory(void) { return recorder_directory; }

unsigned char *pmr_base(void) { return pmr_get_live()->base; }

const char *perimortem_recorder_path(void) { return pmr_base() ? recorder_path : NULL; }

void pmr_notify_monitor(void) {
  int saved_errno = errno;
  if (pmr_base()) utimensat(AT_FDCWD, recorder_path, NULL, 0);
  errno = saved_errno;
}
