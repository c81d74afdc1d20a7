#include "wire.h"

#include <string.h>

static wchar_t pipe_name[260];

void pmr_set_pipe_name(const wchar_t *name) {
  pipe_name[0] = 0;
  if (name && wcslen(name) < sizeof pipe_name / sizeof *pipe_name) wcscpy(pipe_name, name);
}

const wchar_t *pmr_pipe_name(void) { return pipe_name; }

uint64_t pmr_now_ms(void) { return GetTickCount64(); }

HANDLE pmr_connect(uint64_t deadline_ms) {
  DWORD mode = PIPE_READMODE_MESSAGE;
  HANDLE pipe;
  if (!pipe_name[0]) {
    SetLastError(ERROR_FILE_NOT_FOUND);
    return INVALID_HANDLE_VALUE;
  }
  /* The owner of the pipe may identify us, but not impersonate us. */
  DWORD flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
  for (;;) {
    pipe = CreateFileW(pipe_name, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, flags, NULL);
    if (pipe != INVALID_HANDLE_VALUE) break;
    if (GetLastError() != ERROR_PIPE_BUSY || pmr_now_ms() >= deadline_ms) return pipe;
    WaitNamedPipeW(pipe_name, 20);
  }
  SetNamedPipeHandleState(pipe, &mode, NULL, NULL);
  return pipe;
}

pmr_frame pmr_make_frame(uint16_t kind) {
  pmr_frame frame;
  memset(&frame, 0, sizeof frame);
  memcpy(frame.magic, PMR_WIRE_MAGIC, sizeof frame.magic);
  frame.version = PMR_WIRE_VERSION;
  frame.kind = kind;
  frame.pid = GetCurrentProcessId();
  frame.tid = GetCurrentThreadId();
  return frame;
}

/* Wait for the pending operation; at the deadline it is cancelled, since it writes into our memory. */
static DWORD complete(HANDLE pipe, OVERLAPPED *operation, DWORD *count, uint64_t deadline_ms) {
  uint64_t now_ms = pmr_now_ms();
  DWORD left_ms = now_ms < deadline_ms ? (DWORD)(deadline_ms - now_ms) : 0;
  if (WaitForSingleObject(operation->hEvent, left_ms) != WAIT_OBJECT_0) CancelIoEx(pipe, operation);
  return GetOverlappedResult(pipe, operation, count, TRUE) ? 0 : GetLastError();
}

static DWORD transfer(HANDLE pipe, void *buffer, DWORD size, int is_write, DWORD *count,
                      uint64_t deadline_ms) {
  OVERLAPPED operation;
  memset(&operation, 0, sizeof operation);
  operation.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
  if (!operation.hEvent) return GetLastError();
  BOOL is_done = is_write ? WriteFile(pipe, buffer, size, NULL, &operation)
                          : ReadFile(pipe, buffer, size, NULL, &operation);
  DWORD error = is_done ? 0 : GetLastError();
  if (error == 0 || error == ERROR_IO_PENDING) error = complete(pipe, &operation, count, deadline_ms);
  CloseHandle(operation.hEvent);
  return error;
}

DWORD pmr_ask(HANDLE pipe, const void *message, uint32_t size, pmr_frame *answer, uint64_t deadline_ms) {
  DWORD count = 0;
  DWORD error = transfer(pipe, (void *)(uintptr_t)message, size, 1, &count, deadline_ms);
  if (!error) error = transfer(pipe, answer, sizeof *answer, 0, &count, deadline_ms);
  if (error) return error;
  int is_answer = count == sizeof *answer && answer->version == PMR_WIRE_VERSION &&
                  memcmp(answer->magic, PMR_WIRE_MAGIC, sizeof answer->magic) == 0;
  return is_answer ? 0 : ERROR_INVALID_DATA;
}
