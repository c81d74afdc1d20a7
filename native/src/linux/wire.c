/* A socket that is opened on demand: a descriptor kept open for a crash would disturb programs that
* close or count theirs, and a forked child would inherit it. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"

#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#endif

#define RETRY_NS 5000000

/* Directory and name separately: a path that is too long for a socket is reached through the directory. */
static char directory[400], name[100], whole[512];

uint64_t pmr_precise_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void pmr_set_socket_path(const char *path) {
  const char *slash = path ? strrchr(path, '/') : NULL;
  size_t length = slash ? (size_t)(slash - path) : 0;
  directory[0] = name[0] = whole[0] = '\0';
  if (!slash || length == 0 || length >= sizeof directory || strlen(slash + 1) >= sizeof name) return;
  memcpy(directory, path, length);
  directory[length] = '\0';
  strcpy(name, slash + 1);
  strcpy(whole, path);
}

const char *pmr_socket_path(void) { return whole; }

static void pause_ns(uint64_t ns) {
  struct timespec wait = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  PMR_RAW5(SYS_ppoll, 0, 0, &wait, 0, 0);
}

static char *put_number(char *at, unsigned number) {
  char digits[12];
  int count = 0;
  do digits[count++] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  while (count > 0) *at++ = digits[--count];
  return at;
}

/* Fills `address`; returns a descriptor that must stay open until after the connect, or -1. */
static int make_address(struct sockaddr_un *address) {
  address->sun_family = AF_UNIX;
  if (strlen(whole) < sizeof address->sun_path) {
    strcpy(address->sun_path, whole);
    return -1;
  }
  long fd = PMR_RAW4(SYS_openat, AT_FDCWD, directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  memcpy(address->sun_path, "/proc/self/fd/", 14);
  char *at = put_number(address->sun_path + 14, fd < 0 ? 0 : (unsigned)fd);
  *at++ = '/';
  if (strlen(name) < sizeof address->sun_path - (size_t)(at - address->sun_path)) strcpy(at, name);
  return (int)fd;
}

static int open_socket(void) {
  return (int)PMR_RAW3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* No descriptor is left: raise the limit if possible, else close the highest. The process has crashed
* anyway. */
static int make_room(void) {
  struct rlimit limit;
  if (PMR_RAW4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit) != 0) return -EMFILE;
  if (limit.rlim_cur < limit.rlim_max) {
    struct rlimit raised = {limit.rlim_cur + 4 < limit.rlim_max ? limit.rlim_cur + 4 : limit.rlim_max,
                            limit.rlim_max};
    PMR_RAW4(SYS_prlimit64, 0, RLIMIT_NOFILE, &raised, 0);
    int fd = open_socket();
    if (fd != -EMFILE) return fd;
  }
  for (uint64_t i = 0; i < 2; i++) PMR_RAW1(SYS_close, limit.rlim_cur - 1 - i);
  return open_socket();
}

int pmr_connect(uint64_t deadline_ns) {
  struct sockaddr_un address;
  memset(&address, 0, sizeof address);
  if (!whole[0]) return -ENOENT;
  int fd = open_socket();
  if (fd == -EMFILE) fd = make_room();
  if (fd < 0) return fd;
  int directory_fd = make_address(&address);
  long error;
  /* EAGAIN: the socket's backlog is full. */
  while ((error = PMR_RAW3(SYS_connect, fd, &address, sizeof address)) == -EAGAIN &&
         pmr_precise_now_ns() < deadline_ns)
    pause_ns(RETRY_NS);
  if (directory_fd >= 0) pmr_disconnect(directory_fd);
  if (error == 0) return fd;
  pmr_disconnect(fd);
  return (int)error;
}

void pmr_disconnect(int fd) { PMR_RAW1(SYS_close, fd); }

void pmr_permit_peer(int fd) {
  struct ucred peer;
  unsigned size = sizeof peer;
  if (PMR_RAW5(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0)
    PMR_RAW5(SYS_prctl, PR_SET_PTRACER, peer.pid, 0, 0, 0);
}

pmr_frame pmr_make_frame(uint16_t kind) {
  pmr_frame frame;
  memset(&frame, 0, sizeof frame);
  memcpy(frame.magic, PMR_WIRE_MAGIC, sizeof frame.magic);
  frame.version = PMR_WIRE_VERSION;
  frame.kind = kind;
  frame.pid = (uint32_t)PMR_RAW0(SYS_getpid);
  frame.tid = (uint32_t)PMR_RAW0(SYS_gettid);
  return frame;
}

/* 1 if `fd` is ready for `events`, 0 at the deadline. A ptrace stop, or a signal, only interrupts. */
static int await(int fd, short events, uint64_t deadline_ns) {
  for (;;) {
    uint64_t now_ns = pmr_precise_now_ns();
    uint64_t left_ns = now_ns < deadline_ns ? deadline_ns - now_ns : 0;
    struct timespec wait = {(time_t)(left_ns / 1000000000u), (long)(left_ns % 1000000000u)};
    struct pollfd poll = {fd, events, 0};
    long ready = PMR_RAW5(SYS_ppoll, &poll, 1, &wait, 0, 0);
    if (ready > 0) return 1;
    if (ready == 0 || (ready != -EINTR && ready != -EAGAIN)) return 0;
  }
}

static int is_answer(const pmr_frame *frame, long size) {
  return size == (long)sizeof *frame && frame->version == PMR_WIRE_VERSION &&
         memcmp(frame->magic, PMR_WIRE_MAGIC, sizeof frame->magic) == 0;
}

int pmr_ask(int fd, const void *message, uint32_t size, pmr_frame *answer, uint64_t deadline_ns) {
  long result;
  while ((result = pmr_raw(SYS_sendto, fd, (long)message, size, MSG_NOSIGNAL, 0, 0)) == -EAGAIN ||
         result == -EINTR)
    if (!await(fd, POLLOUT, deadline_ns)) return -ETIMEDOUT;
  if (result < 0) return (int)result;
  for (;;) {
    if (!await(fd, POLLIN, deadline_ns)) return -ETIMEDOUT;
    result = pmr_raw(SYS_recvfrom, fd, (long)answer, sizeof *answer, 0, 0, 0);
    if (result == -EAGAIN || result == -EINTR) continue;
    if (result == 0) return -EPIPE;
    if (result < 0) return (int)result;
    return is_answer(answer, result) ? 0 : -EPROTO;
  }
}
