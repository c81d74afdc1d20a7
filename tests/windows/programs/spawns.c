/* Starts what its arguments name, waits for it, and exits with its code. */
#include <stdio.h>
#include <windows.h>

int wmain(int count, wchar_t **arguments) {
  STARTUPINFOW start = {.cb = sizeof start};
  PROCESS_INFORMATION child;
  DWORD code = 0;
  if (count < 2 || !CreateProcessW(NULL, arguments[1], NULL, NULL, TRUE, 0, NULL, NULL, &start, &child)) return 99;
  WaitForSingleObject(child.hProcess, INFINITE);
  GetExitCodeProcess(child.hProcess, &code);
  return (int)code;
}
