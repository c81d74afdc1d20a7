/* Facts about this process, by Toolhelp and its times. */
#include "process.h"

#include <string.h>
#include <tlhelp32.h>

uint64_t pmr_read_creation_time(void) {
  FILETIME created, exited, kernel, user;
  if (!GetProcessTimes(GetCurrentProcess(), &created, &exited, &kernel, &user)) return 0;
  return pmr_filetime(created);
}

uint32_t pmr_find_parent_pid(void) {
  PROCESSENTRY32W entry;
  uint32_t parent = 0;
  HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
  if (snapshot == INVALID_HANDLE_VALUE) return 0;
  entry.dwSize = sizeof entry;
  for (BOOL has = Process32FirstW(snapshot, &entry); has && !parent;
       has = Process32NextW(snapshot, &entry))
    if (entry.th32ProcessID == GetCurrentProcessId()) parent = entry.th32ParentProcessID;
  CloseHandle(snapshot);
  return parent;
}

void pmr_read_own_name(char *into, uint32_t size) {
  wchar_t path[1024];
  char name[4 * MAX_PATH];
  DWORD length = GetModuleFileNameW(NULL, path, sizeof path / sizeof *path);
  const wchar_t *base = length ? wcsrchr(path, L'\\') : NULL;
  memset(into, 0, size);
  if (!length || !WideCharToMultiByte(CP_UTF8, 0, base ? base + 1 : path, -1, name, sizeof name, NULL, NULL))
    return;
  strncpy(into, name, size - 1);
}

/* Counts the threads of this process; `oldest` receives the one that was created first. */
static uint32_t look_at_threads(uint32_t *oldest) {
  THREADENTRY32 entry;
  uint32_t count = 0;
  uint64_t first = UINT64_MAX;
  HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
  if (snapshot == INVALID_HANDLE_VALUE) return 0;
  entry.dwSize = sizeof entry;
  for (BOOL has = Thread32First(snapshot, &entry); has; has = Thread32Next(snapshot, &entry)) {
    if (entry.th32OwnerProcessID != GetCurrentProcessId()) continue;
    count++;
    HANDLE thread = oldest ? OpenThread(THREAD_QUERY_LIMITED_INFORMATION, FALSE, entry.th32ThreadID) : NULL;
    if (!thread) continue;
    FILETIME created, exited, kernel, user;
    if (GetThreadTimes(thread, &created, &exited, &kernel, &user) && pmr_filetime(created) < first) {
      first = pmr_filetime(created);
      *oldest = entry.th32ThreadID;
    }
    CloseHandle(thread);
  }
  CloseHandle(snapshot);
  return count;
}

uint32_t pmr_find_main_thread(void) {
  uint32_t tid = 0;
  look_at_threads(&tid);
  return tid;
}

uint32_t pmr_count_threads(void) { return look_at_threads(NULL); }
