/* Create, size and map the recorder file of this process, on Windows.
 *
 * We map the file for writing and the monitor maps it for reading; while it is mapped it cannot be
 * truncated. It is built under another name and renamed once its header is complete. */
#include "../recorder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "../lock.h"
#include "crash_handler.h"
#include "leave.h"
#include "process.h"

#define PATH_MAX_W 32768

static pmr_live no_recorder, live_recorder;
_Atomic(pmr_live *) pmr_current = &no_recorder;

static pmr_lock open_lock = PMR_UNLOCKED;
static wchar_t *recorder_path;
static char recorder_path_utf8[4096], directory_utf8[4096];
static int has_sampler;

static wchar_t *read_variable(const wchar_t *name) {
  DWORD size = GetEnvironmentVariableW(name, NULL, 0);
  wchar_t *value = size ? malloc(size * sizeof *value) : NULL;
  if (value && GetEnvironmentVariableW(name, value, size) >= size) {
    free(value);
    value = NULL;
  }
  return value;
}

static int is_absolute(const wchar_t *path) {
  return (path[0] && path[1] == L':' && (path[2] == L'\\' || path[2] == L'/')) ||
         (path[0] == L'\\' && path[1] == L'\\');
}

/* %PERIMORTEM_RUN_DIR%, else %LOCALAPPDATA%\perimortem\run. */
static int find_directory(wchar_t *path) {
  wchar_t *given = read_variable(L"PERIMORTEM_RUN_DIR");
  wchar_t *local = read_variable(L"LOCALAPPDATA");
  int error = 0;
  if (given && is_absolute(given) && wcslen(given) < PATH_MAX_W - 128)
    wcscpy(path, given);
  else if (local && local[0] && wcslen(local) < PATH_MAX_W - 128)
    _snwprintf(path, PATH_MAX_W, L"%ls\\perimortem\\run", local);
  else
    error = ENOENT;
  free(given);
  free(local);
  return error;
}

/* Creates its missing parts. A path over 260 is refused by the call that meets it. */
static int make_directory(wchar_t *path) {
  for (wchar_t *at = path + 3; *at; at++) {
    if (*at != L'\\' && *at != L'/') continue;
    wchar_t kept = *at;
    *at = 0;
    CreateDirectoryW(path, NULL);
    *at = kept;
  }
  if (!CreateDirectoryW(path, NULL) && GetLastError() != ERROR_ALREADY_EXISTS) return EACCES;
  DWORD attributes = GetFileAttributesW(path);
  int is_plain = attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) &&
                 !(attributes & FILE_ATTRIBUTE_REPARSE_POINT);
  return is_plain ? 0 : EPERM;
}

static uint32_t choose_slot_count(void) {
  wchar_t *given = read_variable(L"PERIMORTEM_EVENT_SLOTS");
  unsigned long count = given ? wcstoul(given, NULL, 10) : 0;
  free(given);
  if (count < 8 || count > PMR_EVENT_SLOT_COUNT_MAX) return PMR_EVENT_SLOT_COUNT_DEFAULT;
  return (uint32_t)count;
}

static pmr_identity identify(uint64_t created, uint32_t flags) {
  pmr_identity identity;
  FILETIME now;
  memset(&identity, 0, sizeof identity);
  identity.pid = GetCurrentProcessId();
  identity.parent_pid = pmr_find_parent_pid();
  wchar_t *monitor = read_variable(L"PERIMORTEM_MONITOR_PID");
  identity.monitor_pid = monitor ? (uint32_t)wcstoul(monitor, NULL, 10) : 0;
  free(monitor);
  identity.flags = flags;
  identity.start_time_ticks = created;
  GetSystemTimeAsFileTime(&now);
  identity.realtime_ns = (pmr_filetime(now) - UINT64_C(116444736000000000)) * 100;
  pmr_read_own_name(identity.name, sizeof identity.name);
  return identity;
}

/* Every cluster is allocated now: a store into a hole of a full disk would be an exception. */
static unsigned char *map_file(const wchar_t *path, uint64_t size) {
  unsigned char *base = NULL;
  HANDLE file = CreateFileW(path, GENERIC_READ | GENERIC_WRITE | DELETE,
                            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                            CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
  if (file == INVALID_HANDLE_VALUE) return NULL;
  LARGE_INTEGER end;
  end.QuadPart = (LONGLONG)size;
  if (SetFilePointerEx(file, end, NULL, FILE_BEGIN) && SetEndOfFile(file)) {
    HANDLE section = CreateFileMappingW(file, NULL, PAGE_READWRITE, 0, 0, NULL);
    if (section) {
      base = MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, (SIZE_T)size);
      CloseHandle(section);
    }
  }
  CloseHandle(file);
  if (!base) DeleteFileW(path);
  return base;
}

/* A scanner may hold a file that has just been closed. */
static int rename_patiently(const wchar_t *from, const wchar_t *to) {
  for (int i = 0; i < 5; i++) {
    if (MoveFileExW(from, to, 0)) return 1;
    if (GetLastError() != ERROR_SHARING_VIOLATION && GetLastError() != ERROR_ACCESS_DENIED) break;
    Sleep(10);
  }
  return 0;
}

static int create_in(const wchar_t *directory, uint32_t flags, wchar_t *building, wchar_t *path) {
  uint32_t slots = choose_slot_count();
  uint64_t created = pmr_read_creation_time();
  unsigned long long number = (unsigned long long)created;
  _snwprintf(building, PATH_MAX_W, L"%ls\\.%lu-%llu.rec.new", directory, GetCurrentProcessId(), number);
  _snwprintf(path, PATH_MAX_W, L"%ls\\%lu-%llu.rec", directory, GetCurrentProcessId(), number);
  unsigned char *base = map_file(building, pmr_file_size(slots));
  if (!base) return EIO;
  pmr_identity identity = identify(created, flags);
  pmr_fill_header(base, slots, &identity);
  if (!rename_patiently(building, path)) {
    UnmapViewOfFile(base);
    DeleteFileW(building);
    return EEXIST;
  }
  recorder_path = _wcsdup(path);
  if (!WideCharToMultiByte(CP_UTF8, 0, directory, -1, directory_utf8, sizeof directory_utf8, NULL, NULL))
    directory_utf8[0] = '\0';
  if (!WideCharToMultiByte(CP_UTF8, 0, path, -1, recorder_path_utf8, sizeof recorder_path_utf8, NULL,
                           NULL))
    recorder_path_utf8[0] = '\0';
  live_recorder.slot_count = slots;
  live_recorder.base = base;
  atomic_store_explicit(&pmr_current, &live_recorder, memory_order_release);
  return 0;
}

int pmr_create(uint32_t flags) {
  wchar_t *room = malloc(3 * PATH_MAX_W * sizeof *room);
  if (!room) return ENOMEM;
  int error = find_directory(room);
  if (!error) error = make_directory(room);
  if (!error) error = create_in(room, flags, room + PATH_MAX_W, room + 2 * PATH_MAX_W);
  free(room);
  return error;
}

int pmr_open(uint32_t flags) {
  int error = 0;
  pmr_acquire(&open_lock);
  if (!pmr_base()) {
    error = pmr_create(flags & ~PMR_FOLLOW);
    if (!error) pmr_prepare_leave();
    if (!error) pmr_stand_before_crashes();
  }
  pmr_release(&open_lock);
  return error;
}

int perimortem_open(void) {
  int error = pmr_open(0);
  if (error || !pmr_base()) return error;
  pmr_acquire(&open_lock);
  int starts = !has_sampler;
  has_sampler = 1;
  pmr_release(&open_lock);
  if (starts) pmr_start_sampler(); /* without it the program's own beats still count */
  return 0;
}

const char *pmr_directory(void) { return directory_utf8; }

unsigned char *pmr_base(void) { return pmr_get_live()->base; }

const char *perimortem_recorder_path(void) { return pmr_base() ? recorder_path_utf8 : NULL; }

void pmr_notify_monitor(void) {
  FILETIME now;
  if (!recorder_path) return;
  HANDLE file = CreateFileW(recorder_path, FILE_WRITE_ATTRIBUTES,
                            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                            0, NULL);
  if (file == INVALID_HANDLE_VALUE) return;
  GetSystemTimePreciseAsFileTime(&now); /* no two alike: the coarse one moves every 16 ms */
  SetFileTime(file, NULL, NULL, &now);
  CloseHandle(file);
}
