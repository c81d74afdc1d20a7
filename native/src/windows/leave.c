/* Which code exits? ExitProcess notifies every library (DLL_PROCESS_DETACH) on the thread that called it, so
* the stack at that moment shows the code that wanted to exit. TerminateProcess, an unhandled exception and
* a fast-fail notify no library: then there is no note, which is a fact as well. */
#include "leave.h"

#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "../clock.h"
#include "../crc32.h"
#include "../recorder.h"
#include "process.h"

#define FRAMES_MAX 62

static uint32_t main_thread;

void pmr_prepare_leave(void) {
  HMODULE self;
  main_thread = pmr_find_main_thread();
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                     (LPCWSTR)(void *)&pmr_prepare_leave, &self);
}

typedef struct module_at {
  HMODULE module;
  wchar_t path[512];
  const wchar_t *name;
} module_at;

static int find_module(void *address, module_at *found) {
  DWORD how = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
  if (!GetModuleHandleExW(how, address, &found->module)) return 0;
  if (!GetModuleFileNameW(found->module, found->path, sizeof found->path / sizeof *found->path)) return 0;
  const wchar_t *slash = wcsrchr(found->path, L'\\');
  found->name = slash ? slash + 1 : found->path;
  return 1;
}

static int begins_with_any(const wchar_t *name, const wchar_t *const *prefixes) {
  for (; *prefixes; prefixes++)
    if (_wcsnicmp(name, *prefixes, wcslen(*prefixes)) == 0) return 1;
  return 0;
}

/* They are on the path of every exit, and never the cause of one. */
static int is_carrier(const wchar_t *name) {
  static const wchar_t *const carriers[] = {L"ntdll.",   L"kernel32.", L"kernelbase.", L"ucrtbase",
                                            L"msvcrt.",  L"msvcr",     L"vcruntime",   L"msvcp",
                                            L"libgcc_s", L"libstdc++", L"libwinpthread",
                                            /* .NET Framework, shims and checkers that wrap exit */
                                            L"mscoree", L"apphelp.", L"aclayers.", L"acgenral.",
                                            L"verifier.", NULL};
  return begins_with_any(name, carriers);
}

static int is_runtime(const wchar_t *name) {
  static const wchar_t *const runtimes[] = {L"python3", L"node.", L"ruby", L"perl5", L"lua5", NULL};
  return begins_with_any(name, runtimes);
}

static int is_virtual_machine(const wchar_t *name) {
  static const wchar_t *const machines[] = {L"jvm.", L"java.", L"jli.", L"coreclr.", L"clr.", L"hostfxr.", NULL};
  return begins_with_any(name, machines);
}

/* The function that contains an address; a part that the linker has moved away belongs to another, which
* its unwind information names (UNW_FLAG_CHAININFO). */
static DWORD64 find_function(void *address) {
  DWORD64 base = 0;
  PRUNTIME_FUNCTION function = RtlLookupFunctionEntry((DWORD64)(uintptr_t)address, &base, NULL);
  for (int depth = 0; function && depth < 8; depth++) {
    const unsigned char *unwind = (const unsigned char *)(uintptr_t)(base + function->UnwindData);
    if (!(unwind[0] >> 3 & 4)) break;
    function = (PRUNTIME_FUNCTION)(void *)(uintptr_t)(unwind + 4 + 2 * ((unwind[2] + 1) & ~1));
  }
  return function ? base + function->BeginAddress : 0;
}

/* Is the return address inside abort() of that C runtime? */
static int is_in_abort(void *address, HMODULE module) {
  DWORD64 abort_at = (DWORD64)(uintptr_t)GetProcAddress(module, "abort");
  return abort_at && find_function(address) == abort_at;
}

static uint32_t classify(const module_at *module) {
  if (module->module == GetModuleHandleW(NULL)) return PMR_EXIT_CALLER_PROGRAM;
  if (is_runtime(module->name)) return PMR_EXIT_CALLER_RUNTIME;
  if (is_virtual_machine(module->name)) return PMR_EXIT_CALLER_VIRTUAL_MACHINE;
  return PMR_EXIT_CALLER_LIBRARY;
}

static void find_caller(pmr_exit_note *note) {
  void *frames[FRAMES_MAX];
  module_at module;
  HMODULE self = NULL;
  GetModuleHandleExW(
      GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
      (LPCWSTR)(void *)&find_caller, &self);
  USHORT count = RtlCaptureStackBackTrace(0, FRAMES_MAX, frames, NULL);
  for (USHORT i = 0; i < count; i++) {
    if (!find_module(frames[i], &module) || module.module == self) continue;
    if (is_carrier(module.name)) {
      if (is_in_abort(frames[i], module.module)) note->kind = PMR_EXIT_KIND_ABORT;
      continue;
    }
    note->caller = classify(&module);
    note->address = (uint64_t)(uintptr_t)frames[i];
    note->module_offset = note->address - (uint64_t)(uintptr_t)module.module;
    WideCharToMultiByte(CP_UTF8, 0, module.path, -1, note->module, sizeof note->module - 1, NULL, NULL);
    return;
  }
}

static void name_thread(pmr_exit_note *note) {
  typedef HRESULT(WINAPI * get_description_t)(HANDLE, wchar_t **);
  get_description_t describe = (get_description_t)(void *)GetProcAddress(
      GetModuleHandleW(L"kernel32"), "GetThreadDescription"); /* Windows 10 1607 on */
  wchar_t *text = NULL;
  char name[64];
  if (!describe || describe(GetCurrentThread(), &text) < 0 || !text) return;
  if (WideCharToMultiByte(CP_UTF8, 0, text, -1, name, sizeof name, NULL, NULL))
    pmr_copy_name(note->thread_name, sizeof note->thread_name, name);
  LocalFree(text);
}

static void leave(unsigned char *base) {
  pmr_exit_note note;
  memset(&note, 0, sizeof note);
  note.kind = PMR_EXIT_KIND_EXIT_PROCESS;
  note.status = -1; /* not passed to us; the process's handle knows it */
  note.tid = GetCurrentThreadId();
  note.is_main_thread = note.tid == main_thread;
  note.monotonic_ns = pmr_now_ns();
  find_caller(&note);
  if (pmr_is_leaving) { /* our own thread, after the last of the program's */
    note.caller = PMR_EXIT_CALLER_PROGRAM;
    note.is_main_thread = 1;
  }
  name_thread(&note);
  note.crc32 = pmr_crc32(0, &note, offsetof(pmr_exit_note, state));
  unsigned char *place = base + PMR_EXIT_NOTE_OFFSET;
  memcpy(place, &note, offsetof(pmr_exit_note, state));
  pmr_word *state = pmr_word_at(base, PMR_EXIT_NOTE_OFFSET + (uint32_t)offsetof(pmr_exit_note, state));
  atomic_store_explicit(state, PMR_EXIT_NOTE_WRITTEN, memory_order_release);
  int is_own = pmr_is_leaving || (note.kind == PMR_EXIT_KIND_EXIT_PROCESS &&
               (note.caller == PMR_EXIT_CALLER_VIRTUAL_MACHINE ||
                (note.is_main_thread && (note.caller == PMR_EXIT_CALLER_PROGRAM ||
                                         note.caller == PMR_EXIT_CALLER_RUNTIME))));
  uint64_t said = atomic_load_explicit(pmr_word_at(base, PMR_LIVE(goodbye_ns)), memory_order_acquire);
  if (is_own && !said) perimortem_goodbye(-1);
}

BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void *is_process_end) {
  (void)self;
  if (reason == DLL_PROCESS_DETACH && is_process_end && pmr_base()) leave(pmr_base());
  return TRUE;
}
