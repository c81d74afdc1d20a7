/* A window that answers for a second, and then does not until it is ended. */
#include <stdio.h>
#include <windows.h>

int wmain(void) {
  HWND window = CreateWindowW(L"STATIC", L"a window that hangs", WS_OVERLAPPEDWINDOW | WS_VISIBLE, 0, 0, 80, 80,
                              NULL, NULL, NULL, NULL);
  if (!window) return 99;
  puts("ready");
  fflush(stdout);
  ULONGLONG end = GetTickCount64() + 2500;
  MSG message;
  while (GetTickCount64() < end) {
    while (PeekMessageW(&message, NULL, 0, 0, PM_REMOVE)) DispatchMessageW(&message);
    Sleep(10);
  }
  Sleep(INFINITE);
  return 0;
}
