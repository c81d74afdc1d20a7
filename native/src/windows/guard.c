/* spawn_and_attach: find the monitor or start it, register, and have crashes reported to it. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "../crash.h"
#include "../lock.h"
#include "../recorder.h"
#include "crash_handler.h"
#include "perimortem.h"
#include "wire.h"

#define CONNECT_TIMEOUT_S 5.0
#define ANSWER_TIMEOUT_S 10.0
#define RETRY_MS 20
#define START_PATIENCE_MS 2000
#define COMMAND_MAX 8192

struct perimortem_guard {
  int is_held;
};

static pmr_lock guard_lock = PMR_UNLOCKED;
static perimortem_guard the_guard;
static int guard_count;
static char last_error[256];

const char *perimortem_attach_error(void) { return last_error[0] ? last_error : NULL; }

static void note_failure(const char *what, DWORD error) {
  static int is_said;
  snprintf(last_error, sizeof last_error, "%s (error %lu)", what, error);
  if (is_said++) return;
  fprintf(stderr, "perimortem: crashes of this program are not reported to a monitor: %s\n", last_error);
}

/* One per run directory, named as the monitor does: FNV-1a of its UTF-8 in lower case. */
static void find_service_pipe(wchar_t *name, size_t size) {
  uint64_t digest = UINT64_C(0xCBF29CE484222325);
  char directory[3 * 1024];
  snprintf(directory, sizeof directory, "%s", pmr_directory());
  for (char *at = directory; *at; at++) {
    unsigned char byte = (unsigned char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
    digest = (digest ^ byte) * UINT64_C(0x100000001B3);
  }
  _snwprintf(name, size, L"\\\\.\\pipe\\perimortem-%016llx-%hs", (unsigned long long)digest,
             PMR_SERVICE_SOCKET_NAME);
}

/* Quoted for the C runtime's parser: backslashes count only before a quote. */
static size_t put_argument(wchar_t *line, size_t at, const wchar_t *argument) {
  if (at && at < COMMAND_MAX - 2) line[at++] = L' ';
  if (at < COMMAND_MAX - 2) line[at++] = L'"';
  for (const wchar_t *c = argument; *c && at < COMMAND_MAX - 8; c++) {
    size_t slashes = 0;
    while (*c == L'\\' && at < COMMAND_MAX - 8) {
      slashes++;
      line[at++] = *c++;
    }
    if (*c == L'"' || !*c)
      while (slashes-- && at < COMMAND_MAX - 4) line[at++] = L'\\';
    if (!*c) break;
    if (*c == L'"') line[at++] = L'\\';
    line[at++] = *c;
  }
  line[at++] = L'"';
  line[at] = 0;
  return at;
}

static DWORD start_monitor(const char *const *command, HANDLE *monitor) {
  static const char *const usual[] = {"perimortem", NULL};
  static wchar_t line[COMMAND_MAX], word[COMMAND_MAX], directory[COMMAND_MAX];
  STARTUPINFOW startup;
  PROCESS_INFORMATION process;
  size_t at = 0;
  if (!command || !command[0]) command = usual;
  for (; *command; command++) {
    MultiByteToWideChar(CP_UTF8, 0, *command, -1, word, COMMAND_MAX);
    at = put_argument(line, at, word);
  }
  at = put_argument(line, at, L"monitor");
  put_argument(line, at, L"--exit-when-idle");
  memset(&startup, 0, sizeof startup);
  startup.cb = sizeof startup;
  MultiByteToWideChar(CP_UTF8, 0, pmr_directory(), -1, directory, COMMAND_MAX);
  SetEnvironmentVariableW(L"PERIMORTEM_RUN_DIR", directory);
  DWORD flags = DETACHED_PROCESS | CREATE_BREAKAWAY_FROM_JOB;
  BOOL ok = CreateProcessW(NULL, line, NULL, NULL, FALSE, flags, NULL, NULL, &startup, &process);
  if (!ok && GetLastError() == ERROR_ACCESS_DENIED) /* our job allows no breakaway */
    ok = CreateProcessW(NULL, line, NULL, NULL, FALSE, DETACHED_PROCESS, NULL, NULL, &startup, &process);
  if (!ok) return GetLastError();
  CloseHandle(process.hThread);
  *monitor = process.hProcess;
  return 0;
}

static DWORD exchange(uint16_t kind, uint16_t expected, uint64_t deadline_ms) {
  pmr_frame frame = pmr_make_frame(kind), answer;
  HANDLE pipe = pmr_connect(deadline_ms);
  if (pipe == INVALID_HANDLE_VALUE) return GetLastError();
  DWORD error = pmr_ask(pipe, &frame, sizeof frame, &answer, deadline_ms);
  CloseHandle(pipe);
  if (!error && answer.kind != expected) error = ERROR_INVALID_DATA;
  return error;
}

static int is_absent(DWORD error) {
  return error == ERROR_FILE_NOT_FOUND || error == ERROR_BROKEN_PIPE || error == ERROR_PIPE_NOT_CONNECTED;
}

static int is_starting(HANDLE monitor) { return monitor && WaitForSingleObject(monitor, 0) == WAIT_TIMEOUT; }

/* Retry until one answers, and start one if there is none. */
static DWORD await_monitor(const char *const *command, uint64_t deadline_ms, HANDLE *monitor) {
  uint64_t start_ms = 0;
  for (;;) {
    DWORD error = exchange(PMR_FRAME_KIND_HELLO, PMR_FRAME_KIND_WELCOME, deadline_ms);
    if (!is_absent(error)) return error;
    uint64_t now_ms = pmr_now_ms();
    if (now_ms >= deadline_ms) return error;
    /* The one we started may have met one that was exiting; while it runs a second would only slow it. */
    if (now_ms >= start_ms && !is_starting(*monitor)) {
      if (*monitor) CloseHandle(*monitor);
      *monitor = NULL;
      error = start_monitor(command, monitor);
      if (error) return error;
      start_ms = now_ms + START_PATIENCE_MS;
    }
    Sleep(RETRY_MS);
  }
}

static DWORD find_monitor(const perimortem_options *options, uint64_t deadline_ms) {
  HANDLE monitor = NULL;
  wchar_t name[260];
  DWORD length = GetEnvironmentVariableW(L"PERIMORTEM_SOCKET", name, 260);
  if (length > 0 && length < 260) {
    pmr_set_pipe_name(name);
    if (!exchange(PMR_FRAME_KIND_HELLO, PMR_FRAME_KIND_WELCOME, deadline_ms)) return 0;
  }
  find_service_pipe(name, 260);
  pmr_set_pipe_name(name);
  DWORD error = await_monitor(options ? options->monitor_command : NULL, deadline_ms, &monitor);
  if (monitor) CloseHandle(monitor);
  return error;
}

static double choose(double wish, double usual) {
  if (!(wish > 0)) return usual;
  return wish < 3600 ? wish : 3600;
}

static DWORD attach(const perimortem_options *options) {
  double connect_s = choose(options ? options->connect_timeout_s : 0, CONNECT_TIMEOUT_S);
  double answer_s = choose(options ? options->answer_timeout_s : 0, ANSWER_TIMEOUT_S);
  if (perimortem_open() != 0) {
    note_failure("no recorder could be created", GetLastError());
    return ERROR_NOT_READY;
  }
  DWORD error = find_monitor(options, pmr_now_ms() + (uint64_t)(connect_s * 1e3));
  if (error) {
    note_failure("no monitor answers, and none could be started", error);
    pmr_set_pipe_name(NULL); /* a crash is still recorded, for a later monitor */
  }
  pmr_set_answer_timeout((uint32_t)(answer_s * 1e3));
  pmr_install_crash_handler();
  return error;
}

perimortem_guard *perimortem_spawn_and_attach(const perimortem_options *options) {
  pmr_acquire(&guard_lock);
  DWORD error = guard_count ? 0 : attach(options);
  if (!error) guard_count++;
  pmr_release(&guard_lock);
  return error ? NULL : &the_guard;
}

void perimortem_release(perimortem_guard *guard) {
  if (guard != &the_guard) return;
  pmr_acquire(&guard_lock);
  if (guard_count > 0 && --guard_count == 0) {
    pmr_remove_crash_handler();
    exchange(PMR_FRAME_KIND_LEAVE, PMR_FRAME_KIND_DONE, pmr_now_ms() + 1000);
  }
  pmr_release(&guard_lock);
}
