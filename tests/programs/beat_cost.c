/* beat_cost: nanoseconds of a beat and an emit, beside a datagram and sd_notify as daemons call it. */
#define _GNU_SOURCE
#include <perimortem.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e9 + now.tv_nsec;
}

static struct sockaddr_un address;
static socklen_t address_size;

static int receiver(void) {
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "perimortem-bench-%d", getpid());
  address_size = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address.sun_path + 1);
  bind(fd, (void *)&address, address_size);
  return fd;
}

static void drain(int fd) {
  char sink[256];
  while (recv(fd, sink, sizeof sink, 0) > 0) {
  }
}

/* What sd_notify(3) does: a socket, one datagram, close. */
static void notify_once(void) {
  static const char text[] = "WATCHDOG=1";
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sendto(fd, text, sizeof text - 1, MSG_NOSIGNAL, (void *)&address, address_size);
  close(fd);
}

int main(void) {
  int inbox = receiver(), kept = socket(AF_UNIX, SOCK_DGRAM, 0);
  connect(kept, (void *)&address, address_size);
  perimortem_open();
  int heartbeat = perimortem_heartbeat("main", 10);
  static const char event[] = "{\"step\":12345,\"loss\":0.125}";
  for (int round = 0; round < 5; round++) {
    double start = now_ns();
    for (int i = 0; i < 2000000; i++) perimortem_beat(heartbeat);
    double beat = (now_ns() - start) / 2000000;
    start = now_ns();
    for (int i = 0; i < 500000; i++) perimortem_emit("train.step", event);
    double emit = (now_ns() - start) / 500000;
    /* Receiving is the reader's cost, not the writer's: the inbox is emptied outside the clock. */
    double sent = 0, notified = 0;
    for (int i = 0; i < 20000; i += 10) {
      start = now_ns();
      for (int j = 0; j < 10; j++) send(kept, event, sizeof event - 1, 0);
      sent += now_ns() - start;
      drain(inbox);
      start = now_ns();
      for (int j = 0; j < 10; j++) notify_once();
      notified += now_ns() - start;
      drain(inbox);
    }
    printf("%.2f %.2f %.2f %.2f\n", beat, emit, sent / 20000, notified / 20000);
  }
  return 0;
}
