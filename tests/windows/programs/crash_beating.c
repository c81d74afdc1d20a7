/* crash_beating WAY [attach]: an exception in a program that carries the agent. */
#include <perimortem.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

static volatile int zero;

static __declspec(noinline) void fault(const wchar_t *way) {
  if (!wcscmp(way, L"write")) *(volatile int *)16 = 1;
  if (!wcscmp(way, L"divide")) zero = (int)wcslen(way) / zero;
  if (!wcscmp(way, L"illegal")) __asm__ volatile("ud2");
  if (!wcscmp(way, L"raise")) RaiseException(0xE0000042, 0, 0, NULL);
}

static __declspec(noinline) int overflow(int depth) {
  volatile char frame[4096];
  memset((char *)frame, depth, sizeof frame);
  return depth < 0 ? 0 : overflow(depth + 1) + frame[17];
}

static DWORD WINAPI in_thread(void *way) {
  printf("%lu\n", GetCurrentThreadId());
  fflush(stdout);
  fault(way);
  return 0;
}

static LONG WINAPI skip(EXCEPTION_POINTERS *pointers) {
  pointers->ContextRecord->Rip += 2; /* ud2 */
  return EXCEPTION_CONTINUE_EXECUTION;
}

static LONG CALLBACK skip_first(EXCEPTION_POINTERS *pointers) { return skip(pointers); }

int wmain(int argc, wchar_t **argv) {
  wchar_t *way = argc > 1 ? argv[1] : L"write";
  if (!wcscmp(way, L"repaired")) SetUnhandledExceptionFilter(skip);
  perimortem_open();
  perimortem_beat(perimortem_heartbeat("work", 5.0));
  if (argc > 2) {
    char python[1024];
    const char *command[] = {python, "-m", "perimortem", NULL};
    perimortem_options options = {command, 30.0, 20.0};
    WideCharToMultiByte(CP_UTF8, 0, argv[2], -1, python, sizeof python, NULL, NULL);
    perimortem_guard *guard = perimortem_spawn_and_attach(&options);
    printf("%s\n", guard ? "attached" : perimortem_attach_error());
    fflush(stdout);
  }
  if (!wcscmp(way, L"repaired")) {
    __asm__ volatile("ud2");
    AddVectoredExceptionHandler(1, skip_first);
    for (int i = 0; i < 100; i++) __asm__ volatile("ud2");
    return 0;
  }
  if (!wcscmp(way, L"overflow")) return overflow(1);
  if (!wcscmp(way, L"thread")) {
    WaitForSingleObject(CreateThread(NULL, 0, in_thread, L"write", 0, NULL), INFINITE);
    return 9;
  }
  fault(way);
  return 9;
}
