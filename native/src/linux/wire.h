/* Talk to the monitor over its local socket. Every call is async-signal-safe: plain system calls, no
* allocation, and never longer than the deadline. */
#ifndef PERIMORTEM_WIRE_H
#define PERIMORTEM_WIRE_H

#include <stdint.h>

#include "../wire_layout.h"

/* CLOCK_MONOTONIC, not the coarse one: for deadlines. */
uint64_t pmr_precise_now_ns(void);

/* Where the monitor listens; an empty path: nowhere. Not async-signal-safe against itself. */
void pmr_set_socket_path(const char *path);
const char *pmr_socket_path(void);

/* A connection, or a negative errno value: -ENOENT and -ECONNREFUSED if no monitor listens there. */
int pmr_connect(uint64_t deadline_ns);
void pmr_disconnect(int fd);

/* Allow the process at the other end to read our memory, if Yama requires that. */
void pmr_permit_peer(int fd);

pmr_frame pmr_make_frame(uint16_t kind);

/* Send one message and wait for the frame that answers it; 0 or a negative errno value (-ETIMEDOUT,
* -EPIPE if the monitor went away, -EPROTO for an invalid answer). */
int pmr_ask(int fd, const void *message, uint32_t size, pmr_frame *answer, uint64_t deadline_ns);

#endif
