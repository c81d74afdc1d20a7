/* The thread of a program that opened its recorder: beats "process" and emits "system.stats" once a
 * second. It shows that the system schedules the process at all, and no more. */
#include <windows.h>

#include <psapi.h>
#include <stdio.h>

#include "../recorder.h"
#include "process.h"

int pmr_is_leaving;

/* Counting requires a list of all threads of the machine: once in this many samples. */
#define THREADS_EVERY 10

static void emit_stats(void) {
  static unsigned samples;
  static uint32_t threads;
  char json[160];
  PROCESS_MEMORY_COUNTERS memory = {0};
  FILETIME created, exited, kernel = {0}, user = {0};
  DWORD handles = 0;
  memory.cb = sizeof memory;
  K32GetProcessMemoryInfo(GetCurrentProcess(), &memory, sizeof memory);
  GetProcessTimes(GetCurrentProcess(), &created, &exited, &kernel, &user);
  if (samples++ % THREADS_EVERY == 0) threads = pmr_count_threads();
  GetProcessHandleCount(GetCurrentProcess(), &handles);
  unsigned long long cpu_ms = (pmr_filetime(kernel) + pmr_filetime(user)) / 10000;
  snprintf(json, sizeof json,
           "{\"rss_bytes\":%llu,\"cpu_s\":%llu.%03u,\"threads\":%lu,\"handles\":%lu}",
           (unsigned long long)memory.WorkingSetSize, cpu_ms / 1000, (unsigned)(cpu_ms % 1000),
           (unsigned long)threads, (unsigned long)handles);
  perimortem_emit("system.stats", json);
}

/* Windows ends a process with its last thread, which must not be ours. That can happen only if main's thread
* has exited by itself: then the threads are counted. Its code becomes the process's exit code, as it would
* have been if main's was the last to exit. */
static void leave_if_last(HANDLE main_thread) {
  DWORD code = 0;
  if (!main_thread || WaitForSingleObject(main_thread, 0) != WAIT_OBJECT_0) return;
  if (pmr_count_threads() > 1) return;
  GetExitCodeThread(main_thread, &code);
  perimortem_goodbye((int)code);
  pmr_is_leaving = 1;
  ExitProcess(code);
}

static DWORD WINAPI sample(void *main_thread) {
  int heartbeat = perimortem_heartbeat("process", 0);
  while (pmr_base()) {
    perimortem_beat(heartbeat);
    emit_stats();
    Sleep(1000);
    leave_if_last(main_thread);
  }
  return 0;
}

int pmr_start_sampler(void) {
  /* At this point it still exists. */
  HANDLE main_thread =
      OpenThread(SYNCHRONIZE | THREAD_QUERY_LIMITED_INFORMATION, FALSE, pmr_find_main_thread());
  HANDLE thread =
      CreateThread(NULL, 128 * 1024, sample, main_thread, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
  if (!thread) return (int)GetLastError();
  typedef HRESULT(WINAPI * set_description_t)(HANDLE, const wchar_t *);
  set_description_t describe = (set_description_t)(void *)GetProcAddress(
      GetModuleHandleW(L"kernel32"), "SetThreadDescription"); /* Windows 10 1607 on */
  if (describe) describe(thread, L"perimortem");
  CloseHandle(thread);
  return 0;
}
