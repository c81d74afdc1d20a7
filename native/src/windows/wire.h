/* Talk to the monitor over its named pipe. Nothing here allocates or takes one of our locks. */
#ifndef PERIMORTEM_WIRE_H
#define PERIMORTEM_WIRE_H

#include <stdint.h>
#include <windows.h>

#include "../wire_layout.h"

/* Where the monitor listens; empty: nowhere. */
void pmr_set_pipe_name(const wchar_t *name);
const wchar_t *pmr_pipe_name(void);

/* Milliseconds since the machine started. */
uint64_t pmr_now_ms(void);

/* INVALID_HANDLE_VALUE if no monitor listens, or all instances stay busy. */
HANDLE pmr_connect(uint64_t deadline_ms);

pmr_frame pmr_make_frame(uint16_t kind);

/* Send one message and wait for the frame that answers it; 0 or a Windows error. */
DWORD pmr_ask(HANDLE pipe, const void *message, uint32_t size, pmr_frame *answer, uint64_t deadline_ms);

#endif
