/* For unhandled exceptions: record, report to the monitor, wait for its dump, continue the search.
 *
 * First-chance exceptions are not ours to report: runtimes use them routinely. The unhandled-exception filter
 * is called when every frame has declined. Only a stack overflow is reported from the vectored handler, since
 * it leaves too little stack for the system to get to the filter. Fast-fail and heap corruption bypass every
 * handler: they are left to Windows Error Reporting. */
#include "crash_handler.h"

#include <stdatomic.h>
#include <string.h>
#include <windows.h>

#include "../clock.h"
#include "../crash.h"
#include "../crc32.h"
#include "wire.h"

/* Stack reserved in each thread for reporting its own overflow. */
#define STACK_GUARANTEE (64u * 1024)

static _Atomic int is_installed;
static LPTOP_LEVEL_EXCEPTION_FILTER previous_filter;
static void *vectored_handler;
static uint32_t answer_timeout_ms = PMR_ANSWER_TIMEOUT_MS;

static _Atomic uint32_t dumping_tid;
static _Atomic int is_reported;
static unsigned char message[PMR_CRASH_MESSAGE_SIZE];

void pmr_set_answer_timeout(uint32_t timeout_ms) {
  answer_timeout_ms = timeout_ms ? timeout_ms : PMR_ANSWER_TIMEOUT_MS;
}

static void fill_module(pmr_crash_note *note) {
  DWORD how = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
  static wchar_t path[260];
  HMODULE module;
  if (!GetModuleHandleExW(how, (LPCWSTR)(uintptr_t)note->program_counter, &module)) return;
  note->caller = module == GetModuleHandleW(NULL) ? PMR_EXIT_CALLER_PROGRAM : PMR_EXIT_CALLER_LIBRARY;
  note->module_offset = note->program_counter - (uint64_t)(uintptr_t)module;
  DWORD length = GetModuleFileNameW(module, path, sizeof path / sizeof *path);
  if (length > 0)
    WideCharToMultiByte(CP_UTF8, 0, path, -1, note->module, sizeof note->module - 1, NULL, NULL);
}

static void fill(pmr_crash_note *note, const EXCEPTION_POINTERS *pointers) {
  const EXCEPTION_RECORD *record = pointers->ExceptionRecord;
  memset(note, 0, sizeof *note);
  note->code = record->ExceptionCode;
  note->tid = GetCurrentThreadId();
  note->monotonic_ns = pmr_now_ns();
  note->program_counter = (uint64_t)(uintptr_t)record->ExceptionAddress;
  if (record->NumberParameters > 0) note->parameter = record->ExceptionInformation[0];
  int is_access = record->ExceptionCode == EXCEPTION_ACCESS_VIOLATION ||
                  record->ExceptionCode == EXCEPTION_IN_PAGE_ERROR;
  note->address = is_access && record->NumberParameters > 1 ? record->ExceptionInformation[1]
                                                            : note->program_counter;
#if defined(__x86_64__) || defined(_M_X64)
  note->stack_pointer = pointers->ContextRecord->Rsp;
  note->context_kind = PMR_CONTEXT_KIND_WINDOWS_X86_64;
  note->context_size = sizeof *pointers->ContextRecord;
  memcpy(note->context, pointers->ContextRecord, sizeof *pointers->ContextRecord);
#endif
  fill_module(note);
}

static void report_to_monitor(const pmr_crash_note *note) {
  uint64_t deadline_ms = pmr_now_ms() + answer_timeout_ms;
  HANDLE pipe = pmr_connect(deadline_ms);
  if (pipe == INVALID_HANDLE_VALUE) return;
  pmr_frame frame = pmr_make_frame(PMR_FRAME_KIND_CRASH), answer;
  frame.timeout_ms = answer_timeout_ms;
  memcpy(message, &frame, sizeof frame);
  memcpy(message + sizeof frame, note, sizeof *note);
  pmr_ask(pipe, message, sizeof message, &answer, deadline_ms);
  CloseHandle(pipe);
}

/* One thread reports; others that crash meanwhile wait for it, since it ends the process. */
static int is_first(void) {
  uint32_t tid = GetCurrentThreadId(), expected = 0;
  if (atomic_compare_exchange_strong(&dumping_tid, &expected, tid)) return 1;
  if (expected == tid) return 0; /* our own handler crashed, or the overflow reaches the filter, too */
  uint64_t deadline_ms = pmr_now_ms() + answer_timeout_ms + 1000;
  while (!atomic_load(&is_reported) && pmr_now_ms() < deadline_ms) Sleep(5);
  Sleep(500); /* so that the process ends by the reported exception */
  return 0;
}

static void report(const EXCEPTION_POINTERS *pointers) {
  if (!is_first()) return;
  pmr_crash_note *note = pmr_crash_area();
  fill(note, pointers);
  pmr_publish_crash(note, PMR_CRASH_STATE_FATAL);
  report_to_monitor(note);
  atomic_store(&is_reported, 1);
}

static LONG WINAPI on_vectored(EXCEPTION_POINTERS *pointers) {
  if (pointers->ExceptionRecord->ExceptionCode == EXCEPTION_STACK_OVERFLOW) report(pointers);
  return EXCEPTION_CONTINUE_SEARCH;
}

static LONG WINAPI on_unhandled(EXCEPTION_POINTERS *pointers) {
  LONG wish = EXCEPTION_CONTINUE_SEARCH;
  if (previous_filter && !atomic_load(&dumping_tid)) {
    /* An existing filter is called first; it may fix the fault, or end the process itself. */
    pmr_crash_note *note = pmr_crash_area();
    fill(note, pointers);
    pmr_publish_crash(note, PMR_CRASH_STATE_TAKEN);
    wish = previous_filter(pointers);
    if (wish == EXCEPTION_CONTINUE_EXECUTION) {
      atomic_store((_Atomic uint64_t *)(void *)&note->state, PMR_CRASH_STATE_NONE);
      return wish;
    }
  }
  report(pointers);
  return wish;
}

static void keep_stack(void) {
  ULONG size = STACK_GUARANTEE;
  SetThreadStackGuarantee(&size);
}

int pmr_has_crash_handler(void) { return atomic_load(&is_installed); }

int pmr_install_crash_handler(void) {
  if (atomic_exchange(&is_installed, 1)) return 0;
  pmr_crc32_prepare();
  keep_stack();
  vectored_handler = AddVectoredExceptionHandler(0, on_vectored);
  previous_filter = SetUnhandledExceptionFilter(on_unhandled);
  return 0;
}

void pmr_remove_crash_handler(void) {
  if (!atomic_exchange(&is_installed, 0)) return;
  if (vectored_handler) RemoveVectoredExceptionHandler(vectored_handler);
  vectored_handler = NULL;
  LPTOP_LEVEL_EXCEPTION_FILTER now = SetUnhandledExceptionFilter(previous_filter);
  if (now != on_unhandled) SetUnhandledExceptionFilter(now); /* a filter that replaced ours stays */
}

void pmr_stand_before_crashes(void) {
  wchar_t name[260];
  DWORD length = GetEnvironmentVariableW(L"PERIMORTEM_SOCKET", name, sizeof name / sizeof *name);
  if (length == 0 || length >= sizeof name / sizeof *name) return;
  pmr_set_pipe_name(name);
  pmr_install_crash_handler();
}
