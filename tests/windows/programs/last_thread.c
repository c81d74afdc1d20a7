/* main's thread exits by itself with 12, and another works on for a second and a half. */
#include <perimortem.h>
#include <windows.h>

static DWORD WINAPI work(void *unused) {
  (void)unused;
  Sleep(1500);
  return 5;
}

int wmain(void) {
  perimortem_open();
  CreateThread(NULL, 0, work, NULL, 0, NULL);
  ExitThread(12);
}
