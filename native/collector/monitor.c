/* The notification of the monitor, and the wait for its dump. */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../src/wire_layout.h"

#define FIRST_ANSWER_MS 1000 /* a monitor that runs answers in milliseconds */

static int connect_to_monitor(const char *run_dir) {
  struct sockaddr_un address;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", run_dir,
                        PMR_SERVICE_SOCKET_NAME);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0 && length < (int)sizeof address.sun_path &&
      connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
    return fd;
  int is_full = fd >= 0 && errno == EAGAIN; /* it listens, and accepts no one */
  if (fd >= 0) close(fd);
  if (is_full) count_crash(&counts->unanswered, "the monitor accepts no connection");
  return -1;
}

/* Field 22 of /proc/PID/stat: with the pid it identifies the process for all time. */
static uint64_t read_start_time(void) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%.16s/stat", given[PID]);
  if (read_file(path, text, sizeof text) <= 0) return 0;
  char *at = strrchr(text, ')');
  for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
  return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* 1: a frame of ours has come. 0: none in time, the end of the connection, or anything else. */
static int await_frame(int fd, pmr_frame *answer, uint64_t deadline_ms) {
  for (;;) {
    uint64_t now = now_ms();
    struct pollfd reply = {fd, POLLIN, 0};
    if (now >= deadline_ms) return 0;
    if (poll(&reply, 1, (int)(deadline_ms - now)) < 0 && errno != EINTR) return 0;
    ssize_t got = recv(fd, answer, sizeof *answer, MSG_TRUNC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    return got == (ssize_t)sizeof *answer &&
           memcmp(answer->magic, PMR_WIRE_MAGIC, sizeof answer->magic) == 0 &&
           answer->version == PMR_WIRE_VERSION;
  }
}

/* WELCOME: it has the crash. DONE: its dump is written, or there will be none. */
static int await_dump(int fd, uint64_t deadline_ms) {
  pmr_frame answer;
  uint64_t first_ms = now_ms() + FIRST_ANSWER_MS;
  int is_frame = await_frame(fd, &answer, first_ms < deadline_ms ? first_ms : deadline_ms);
  if (is_frame && answer.kind == PMR_FRAME_KIND_WELCOME)
    is_frame = await_frame(fd, &answer, deadline_ms);
  if (is_frame && answer.kind == PMR_FRAME_KIND_DONE &&
      (answer.outcome == PMR_OUTCOME_OK || answer.outcome == PMR_OUTCOME_NO_DUMP))
    return 1;
  if (!is_frame || answer.kind != PMR_FRAME_KIND_REFUSED)
    count_crash(&counts->unanswered, "the monitor does not answer");
  return 0;
}

/* The notes may be megabytes, so they go into a file; the message holds only the pid. */
static int send_core(int fd, const char *path) {
  pmr_frame frame;
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
  return is_written && send(fd, &frame, sizeof frame, MSG_NOSIGNAL) == (ssize_t)sizeof frame;
}

int notify_monitor(const settings *settings, uint64_t deadline_ms) {
  char path[700];
  int fd = settings->run_dir[0] ? connect_to_monitor(settings->run_dir) : -1;
  if (fd < 0) return 0;
  snprintf(path, sizeof path, "%s/core-%.16s.notes", settings->run_dir, given[PID]);
  int is_taken = read_head(deadline_ms) && send_core(fd, path) && await_dump(fd, deadline_ms);
  unlink(path);
  close(fd);
  return is_taken;
}
