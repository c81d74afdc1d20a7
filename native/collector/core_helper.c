/* The kernel's core helper: `|.../core-helper %P %s %c %d %t %u %g %p %e` in core_pattern.
 *
 * Started by the kernel, as root, for each process that dumps core, with the core on standard input; the
 * kernel holds the process until we exit. We copy the head of the core (registers, signal) into the run
 * directory, notify the monitor, and wait until it has its dump. Without a monitor the core goes where it
 * would have gone without us: to the handler, or into the file, that core_pattern named before.
 *
 * Files beside us, in a directory that only root can write:
 *   previous   the core_pattern before us
 *   run_dir    where the monitor listens
 *   chain      if it exists, the previous handler gets the core as well */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../src/wire_layout.h"

#define HEAD_MAX (64u << 20)
#define HEAD_DEADLINE_S 5
#define ANSWER_DEADLINE_S 90
#define ARGUMENTS_MAX 32

enum { PID = 1, SIGNAL, LIMIT, MODE, TIME, USER, GROUP, OWN_PID, NAME, ARGUMENTS };

static char **given;
static char directory[512];

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A small file as text: its length, or -1. */
static ssize_t read_file(const char *path, char *into, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  ssize_t length = fd < 0 ? -1 : read(fd, into, size - 1);
  if (fd >= 0) close(fd);
  into[length > 0 ? length : 0] = '\0';
  return length;
}

/* A file beside us; 0 if it does not exist. The line end is removed. */
static int read_beside(const char *name, char *into, size_t size) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  ssize_t length = read_file(path, into, size);
  if (length < 0) return 0;
  while (length > 0 && into[length - 1] == '\n') length--;
  into[length] = '\0';
  return 1;
}

static int write_all(int fd, const unsigned char *data, size_t size) {
  while (size > 0) {
    ssize_t written = write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return 0;
    data += written;
    size -= (size_t)written;
  }
  return 1;
}

/* The part of the core that has been read. */
static unsigned char *head;
static size_t head_size;

static int read_until(size_t wanted, uint64_t deadline_ms) {
  while (head_size < wanted) {
    uint64_t now = now_ms();
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    if (now >= deadline_ms || poll(&input, 1, (int)(deadline_ms - now)) <= 0) return 0;
    ssize_t got = read(STDIN_FILENO, head + head_size, wanted - head_size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return 0;
    head_size += (size_t)got;
  }
  return 1;
}

/* ELF header, program headers, notes: the kernel writes them first, in this order. */
static int read_head(void) {
  uint64_t deadline_ms = now_ms() + HEAD_DEADLINE_S * 1000;
  head = malloc(HEAD_MAX);
  if (!head || !read_until(sizeof(Elf64_Ehdr), deadline_ms)) return 0;
  Elf64_Ehdr elf;
  memcpy(&elf, head, sizeof elf);
  uint64_t headers_end = elf.e_phoff + (uint64_t)elf.e_phnum * sizeof(Elf64_Phdr);
  if (memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_ident[EI_CLASS] != ELFCLASS64 ||
      elf.e_phentsize != sizeof(Elf64_Phdr) || headers_end > HEAD_MAX ||
      !read_until((size_t)headers_end, deadline_ms))
    return 0;
  for (int i = 0; i < elf.e_phnum; i++) {
    Elf64_Phdr segment;
    memcpy(&segment, head + elf.e_phoff + (size_t)i * sizeof segment, sizeof segment);
    if (segment.p_type != PT_NOTE) continue;
    uint64_t end = segment.p_offset + segment.p_filesz;
    return end >= headers_end && end <= HEAD_MAX && read_until((size_t)end, deadline_ms);
  }
  return 0;
}

static int connect_to_monitor(char *run_dir, size_t size) {
  struct sockaddr_un address;
  if (!read_beside("run_dir", run_dir, size)) return -1;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", run_dir,
                        PMR_SERVICE_SOCKET_NAME);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* full: as if absent */
  if (fd >= 0 && length < (int)sizeof address.sun_path &&
      connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
    return fd;
  if (fd >= 0) close(fd);
  return -1;
}

/* Field 22 of /proc/PID/stat: with the pid it identifies the process for all time. */
static uint64_t read_start_time(void) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%s/stat", given[PID]);
  if (read_file(path, text, sizeof text) <= 0) return 0;
  char *at = strrchr(text, ')');
  for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
  return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* The notes may be megabytes, so they go into a file; the message holds only its path. */
static int notify_monitor(int fd, const char *run_dir) {
  char path[700];
  pmr_frame frame, answer;
  snprintf(path, sizeof path, "%s/core-%s.notes", run_dir, given[PID]);
  unlink(path);
  int notes = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (notes < 0) return 0;
  int is_written = write_all(notes, head, head_size);
  close(notes);
  memset(&frame, 0, sizeof frame);
  memcpy(frame.magic, PMR_WIRE_MAGIC, sizeof frame.magic);
  frame.version = PMR_WIRE_VERSION;
  frame.kind = PMR_FRAME_KIND_CORE;
  frame.pid = (uint32_t)strtoul(given[PID], NULL, 10);
  frame.value = strtoul(given[SIGNAL], NULL, 10);
  frame.start_time_ticks = read_start_time();
  int is_answered = 0;
  if (is_written && send(fd, &frame, sizeof frame, MSG_NOSIGNAL) == (ssize_t)sizeof frame) {
    struct pollfd reply = {fd, POLLIN, 0};
    is_answered = poll(&reply, 1, ANSWER_DEADLINE_S * 1000) > 0 &&
                  recv(fd, &answer, sizeof answer, 0) == (ssize_t)sizeof answer &&
                  answer.kind == PMR_FRAME_KIND_DONE;
  }
  unlink(path);
  return is_answered;
}

static const char *read_program(char *buffer, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/exe", given[PID]);
  ssize_t length = readlink(path, buffer, size - 1);
  buffer[length > 0 ? length : 0] = '\0';
  for (char *at = buffer; *at; at++)
    if (*at == '/') *at = '!';
  return buffer;
}

/* One %-specifier of core(5). */
static const char *expand_one(char specifier, char *buffer, size_t size) {
  switch (specifier) {
    case '%': return "%";
    case 'P': case 'I': return given[PID];
    case 'p': case 'i': return given[OWN_PID];
    case 's': return given[SIGNAL];
    case 'c': return given[LIMIT];
    case 'd': return given[MODE];
    case 't': return given[TIME];
    case 'u': return given[USER];
    case 'g': return given[GROUP];
    case 'e': return given[NAME];
    case 'h': return gethostname(buffer, size) == 0 ? buffer : "";
    case 'E': return read_program(buffer, size);
    default: return "";
  }
}

static void expand(const char *pattern, char *into, size_t size, int is_path) {
  char buffer[512];
  size_t at = 0;
  for (; *pattern && at + 1 < size; pattern++) {
    const char *part = pattern[0] == '%' && pattern[1] ? expand_one(*++pattern, buffer, sizeof buffer)
                                                       : NULL;
    if (!part) {
      into[at++] = *pattern;
      continue;
    }
    /* As in the kernel: a name must not lead out of the directory. */
    if (is_path && (!strcmp(part, ".") || !strcmp(part, "..") || !*part)) part = "!";
    for (; *part && at + 1 < size; part++) into[at++] = is_path && *part == '/' ? '!' : *part;
  }
  into[at] = '\0';
}

static void run_previous(char *pattern) {
  static char room[ARGUMENTS_MAX][512];
  char *arguments[ARGUMENTS_MAX + 1];
  int count = 0;
  for (char *word = strtok(pattern, " "); word && count < ARGUMENTS_MAX; word = strtok(NULL, " ")) {
    expand(word, room[count], sizeof room[count], 0);
    arguments[count] = room[count];
    count++;
  }
  arguments[count] = NULL;
  if (count) execv(arguments[0], arguments);
}

/* Whether the process sees the same files as we do, and has the ids that it was started with. */
static int is_of_this_world(uid_t user, gid_t group) {
  static const char *const places[] = {"root", "ns/mnt", "ns/user"};
  char path[64], text[4096], line[64];
  struct stat theirs, own;
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    snprintf(path, sizeof path, "/proc/%s/%s", given[PID], places[i]);
    snprintf(line, sizeof line, "/proc/self/%s", places[i]);
    if (stat(path, &theirs) != 0 || stat(line, &own) != 0 || theirs.st_dev != own.st_dev ||
        theirs.st_ino != own.st_ino)
      return 0;
  }
  snprintf(path, sizeof path, "/proc/%s/status", given[PID]);
  if (read_file(path, text, sizeof text) <= 0) return 0;
  snprintf(line, sizeof line, "\nUid:\t%u\t%u\t%u\t%u\n", user, user, user, user);
  if (!strstr(text, line)) return 0;
  snprintf(line, sizeof line, "\nGid:\t%u\t%u\t%u\t%u\n", group, group, group, group);
  return strstr(text, line) != NULL;
}

/* A core file that other users can open would expose the process's memory to them. */
static int open_core_file(const char *path, uid_t user) {
  int flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  int fd = open(path, flags, 0600);
  struct stat facts;
  if (fd >= 0 && fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_nlink == 1 &&
      facts.st_uid == user && (facts.st_mode & 0677) == 0600 && ftruncate(fd, 0) == 0)
    return fd;
  if (fd >= 0) close(fd);
  return -1;
}

/* As the kernel would: in the directory of the process, with its rights, within its limit. Special cases
* (setuid, another root or namespace) get none. */
static void write_core_file(const char *pattern) {
  char path[4096], number[8], place[64];
  unsigned long long limit = strtoull(given[LIMIT], NULL, 10);
  gid_t group = (gid_t)strtoul(given[GROUP], NULL, 10);
  uid_t user = (uid_t)strtoul(given[USER], NULL, 10);
  if (limit == 0 || pattern[0] == '\0' || strcmp(given[MODE], "1") != 0) return;
  if (!is_of_this_world(user, group)) return;
  expand(pattern, path, sizeof path - 16, 1);
  read_file("/proc/sys/kernel/core_uses_pid", number, sizeof number);
  if (number[0] == '1' && !strstr(pattern, "%p")) {
    strcat(path, ".");
    strcat(path, given[OWN_PID]);
  }
  snprintf(place, sizeof place, "/proc/%s/cwd", given[PID]);
  if (chdir(place) != 0 || setgroups(0, NULL) != 0 || setresgid(group, group, group) != 0 ||
      setresuid(user, user, user) != 0)
    return;
  int fd = open_core_file(path, user);
  if (fd < 0) return;
  static unsigned char buffer[1 << 16];
  size_t first = head_size < limit ? head_size : (size_t)limit;
  if (!write_all(fd, head, first)) return;
  limit -= first;
  ssize_t got;
  while (limit > 0 && (got = read(STDIN_FILENO, buffer, sizeof buffer)) > 0) {
    size_t part = (size_t)got < limit ? (size_t)got : (size_t)limit;
    if (!write_all(fd, buffer, part)) return;
    limit -= part;
  }
}

/* Pipe what was already read, and the rest, to the previous handler. */
static void feed_previous(char *pattern) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[0], STDIN_FILENO);
    run_previous(pattern);
    _exit(127);
  }
  close(ends[0]);
  signal(SIGPIPE, SIG_IGN);
  if (child > 0 && write_all(ends[1], head, head_size)) {
    static unsigned char buffer[1 << 16];
    ssize_t got;
    while ((got = read(STDIN_FILENO, buffer, sizeof buffer)) > 0)
      if (!write_all(ends[1], buffer, (size_t)got)) break;
  }
  close(ends[1]);
  if (child > 0) waitpid(child, NULL, 0);
}

static void hand_over(void) {
  char previous[256];
  if (!read_beside("previous", previous, sizeof previous)) return;
  if (previous[0] == '|' && head_size == 0) run_previous(previous + 1);
  else if (previous[0] == '|') feed_previous(previous + 1);
  else if (previous[0] != '@') write_core_file(previous);
}

int main(int count, char **arguments) {
  struct rlimit smallest = {1, 1}; /* the kernel's mark: our own core is not piped to us again */
  char run_dir[512], chain[4];
  if (count < ARGUMENTS) return 2;
  given = arguments;
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  setrlimit(RLIMIT_CORE, &smallest);
  ssize_t length = readlink("/proc/self/exe", directory, sizeof directory - 1);
  char *slash = length > 0 ? strrchr(directory, '/') : NULL;
  if (!slash) return 1;
  *slash = '\0';
  int fd = connect_to_monitor(run_dir, sizeof run_dir);
  int is_notified = fd >= 0 && read_head() && notify_monitor(fd, run_dir);
  if (!is_notified || read_beside("chain", chain, sizeof chain)) hand_over();
  return 0;
}
